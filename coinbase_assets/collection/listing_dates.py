"""When products were traded: found out once from the exchange, then kept in the lake."""

from contextlib import suppress
from dataclasses import replace
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from coinbase_assets.candles.calendar import DAY
from coinbase_assets.candles.catalogue import LISTING_SCHEMA
from coinbase_assets.candles.datasets import LISTINGS
from coinbase_assets.candles.evidence import Lifetime
from coinbase_assets.collection.listing_search import fetch_last_day, fetch_listing
from coinbase_assets.exchange.products import DELISTED
from coinbase_assets.exchange.resource import BlockingExchange
from coinbase_assets.storage.errors import BlobChanged
from coinbase_assets.storage.stored_blob import StoredBlob
from coinbase_assets.table_metadata import with_fields

if TYPE_CHECKING:
    from coinbase_assets.storage.parquet_store import ParquetStore


class Lifetimes:
    """The lifetimes of products in the lake at `store`, each read once. Raises StorageError."""

    def __init__(self, store: "ParquetStore") -> None:
        self._store = store
        self._known: dict[str, Lifetime] = {}
        self._still_listed: set[str] = set()

    def get(self, product: str) -> Lifetime:
        if product not in self._known:
            self._known[product] = self._read(self._find(product))
        return self._known[product]

    def learn_listing(self, exchange: BlockingExchange, product: str, as_of: datetime) -> None:
        """Find out the first day from the exchange and store it, if it is not known yet.

        While the product has no first day, the exchange is asked at most once a day, going by
        `as_of`. Raises ExchangeError.
        """
        known = self.get(product)
        if known.first_day:
            return
        if known.asked_at and not known.last_day and as_of < known.asked_at + DAY:
            return
        first_day = fetch_listing(exchange, product, as_of.date()).day
        self._put(product, first_day=first_day, asked_at=as_of)

    def learn_delisting(
        self, exchange: BlockingExchange, product: str, day: date, as_of: datetime
    ) -> None:
        """Find out the last day and store it, if the exchange has delisted the product.

        `day` is a day without trades; days before the listing are ignored. The list of products is
        requested at most once for each product. Raises ExchangeError.
        """
        known = self.get(product)
        if known.last_day or product in self._still_listed or _precedes_listing(day, known):
            return
        if not _is_delisted(exchange, product):
            self._still_listed.add(product)
            return
        last_day = fetch_last_day(exchange, product, as_of.date())
        self._put(product, last_day=last_day, asked_at=as_of)

    def _put(self, product: str, **changes: Any) -> None:
        """Change the stored lifetime, and keep what another run has stored there meanwhile."""
        while True:
            found = self._find(product)
            known = replace(self._read(found), **changes)
            table = pa.Table.from_pylist([vars(known)], LISTING_SCHEMA)
            with suppress(BlobChanged):
                self._store.put(_path(product), with_fields(table, {"product": product}), found)
                self._known[product] = known
                return

    def _read(self, found: StoredBlob | None) -> Lifetime:
        return Lifetime(**self._store.get(found.path).to_pylist()[0]) if found else Lifetime()

    def _find(self, product: str) -> StoredBlob | None:
        return self._store.find([_path(product)]).get(_path(product))


def _precedes_listing(day: date, known: Lifetime) -> bool:
    """Whether the day is before the product's first trade, as far as that is known."""
    return known.asked_at is not None and (known.first_day is None or day < known.first_day)


def _is_delisted(exchange: BlockingExchange, product: str) -> bool:
    products = exchange.fetch_products().products.to_pylist()
    return any(row["id"] == product and row["status"] == DELISTED for row in products)


def _path(product: str) -> str:
    return LISTINGS.path().format(partition=product)
