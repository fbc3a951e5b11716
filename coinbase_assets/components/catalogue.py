"""The products that wildcards match: asked of the exchange now and then, and kept in a file.

Definitions are built from the file, so that they load while the exchange does not answer. A product
stays in the file when it is delisted, and so its assets stay, too.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from coinbase_assets.candles.series import is_product
from coinbase_assets.exchange.products import DELISTED
from coinbase_assets.exchange.resource import ExchangeResource

_PATIENCE = 30.0


def fetch_products(exchange: ExchangeResource, folder: Path) -> Sequence[str]:
    """Ask the exchange for the products that it trades. Raises ExchangeError.

    The folder is for the request budget, if the exchange names no other.
    """
    budget = exchange.budget_path or str(folder / "request_budget.sqlite")
    patience = min(_PATIENCE, exchange.give_up_after)
    with exchange.model_copy(update={"budget_path": budget}).get_client(
        give_up_after=patience
    ) as client:
        products = client.fetch_products().products.to_pylist()
    return [product["id"] for product in products if product["status"] != DELISTED]


def write_products(file: Path, *products: Iterable[str]) -> None:
    """Write the products of all lists, each once, ascending."""
    names = sorted(set().union(*products))
    file.write_text(json.dumps({"products": names}, indent=0) + "\n")


def read_products(file: Path) -> Sequence[str]:
    """Return the products in the file. Raises ValueError if it holds anything else."""
    try:
        names = json.loads(file.read_text())["products"]
        if not all(is_product(name) for name in names):
            raise ValueError("names something else than products")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{file}: cannot be read as a list of products ({error})") from None
    return names
