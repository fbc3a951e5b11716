"""Asks the exchange for the products that wildcards match."""

from collections.abc import Sequence
from pathlib import Path

from coinbase_assets.exchange.budget_stores import BUDGET_FILE
from coinbase_assets.exchange.products import DELISTED
from coinbase_assets.exchange.resource import ExchangeResource

_PATIENCE = 30.0


def fetch_products(exchange: ExchangeResource, folder: Path) -> Sequence[str]:
    """Ask the exchange for the products that it trades. Raises ExchangeError.

    The folder is for the request budget, if the exchange names no other.
    """
    budget = exchange.budget_path or str(folder / BUDGET_FILE)
    patience = min(_PATIENCE, exchange.give_up_after)
    with exchange.model_copy(update={"budget_path": budget}).get_client(
        give_up_after=patience
    ) as client:
        products = client.fetch_products().products.to_pylist()
    return [product["id"] for product in products if product["status"] != DELISTED]
