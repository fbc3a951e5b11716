"""The exchange's list of products as a table, and their names. Pure: no Dagster, no I/O.

The columns are fields of `GET /products` in the exchange's documentation.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from coinbase_assets.candles.catalogue import PRODUCT_SCHEMA
from coinbase_assets.candles.series import is_product
from coinbase_assets.exchange.bounded_transport import Bounds, RawAnswer
from coinbase_assets.exchange.errors import GarbledAnswer, InvalidAnswer, ProductNotFound
from coinbase_assets.exchange.responses import parse_list_response
from coinbase_assets.plain_text import quoted

DELISTED = "delisted"

# The exchange lists about a thousand products, of 650 bytes each (its documentation).
CATALOGUE_BOUNDS = Bounds(sent=8_000_000, unpacked=8_000_000)
_MOST_PRODUCTS = 20_000
_MOST_CHARACTERS = 100
_NOTHING_STORED = "nothing of this answer is stored"


@dataclass(frozen=True)
class Catalogue:
    """The products that the exchange knows: columns as in PRODUCT_SCHEMA, ascending by id.

    `as_of` is the exchange's time when it made the answer (UTC), `requests` the number of requests
    that were sent for it.
    """

    products: pa.Table
    as_of: datetime
    requests: int


def refuse_impossible(product: str) -> None:
    """Raise ProductNotFound for a text that no product's name and no part of a path can be."""
    if not is_product(product):
        raise ProductNotFound(
            f"the exchange does not know the product {quoted(product)}:"
            " a product's name is such as ETH-EUR"
        )


def parse_products_response(answer: RawAnswer) -> pa.Table:
    """Return the products of an answer: columns as in PRODUCT_SCHEMA, ascending by id.

    A missing field is null; other fields are ignored. Raises InvalidAnswer: a
    GarbledAnswer if another request may help. An empty list counts as garbled, because the
    exchange always has products.
    """
    products = parse_list_response(answer, _MOST_PRODUCTS, "products")
    if not products:
        raise GarbledAnswer("the list of products is empty")
    rows = [_row(number, product) for number, product in enumerate(products)]
    repeated = [name for name, times in Counter(row["id"] for row in rows).items() if times > 1]
    if repeated:
        raise InvalidAnswer(f"product {repeated[0]!r}: its id is not unique; {_NOTHING_STORED}")
    return pa.Table.from_pylist(rows, PRODUCT_SCHEMA).sort_by("id")


def _row(number: int, product: object) -> dict[str, object]:
    if not isinstance(product, dict):
        raise InvalidAnswer(
            f"entry {number}: {quoted(product)} is not an object; {_NOTHING_STORED}"
        )
    row = {name: product.get(name) for name in PRODUCT_SCHEMA.names}
    if not row["id"]:
        raise InvalidAnswer(f"entry {number}: {quoted(product)} has no id; {_NOTHING_STORED}")
    for field in PRODUCT_SCHEMA:
        value = row[field.name]
        if value is not None and (rule := _broken_rule(field, value)):
            raise InvalidAnswer(
                f"entry {number}, product {quoted(row['id'])}: {field.name} {quoted(value)} is not"
                f" {rule}; {_NOTHING_STORED}"
            )
    return row


def _broken_rule(field: pa.Field, value: object) -> str:
    """Return what the value should be, "" if it is that."""
    if not isinstance(value, bool if pa.types.is_boolean(field.type) else str):
        return f"a {field.type}"
    if not isinstance(value, str):
        return ""
    if field.name == "id":
        return "" if is_product(value) else "a product's name, such as ETH-EUR"
    is_plain = len(value) <= _MOST_CHARACTERS and value.isprintable()
    return "" if is_plain else f"printable text of at most {_MOST_CHARACTERS} characters"
