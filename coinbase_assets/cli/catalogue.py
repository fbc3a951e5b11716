"""What products there are: asked of the exchange, or else as the lake has stored them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa

from coinbase_assets.candles.datasets import LISTINGS, PRODUCTS, place_of
from coinbase_assets.candles.evidence import Lifetime
from coinbase_assets.cli.console import console, errors
from coinbase_assets.components.own_deployment import build_exchange
from coinbase_assets.exchange.errors import ExchangeError, ExchangeUnreachable
from coinbase_assets.exchange.products import DELISTED
from coinbase_assets.lake.account import has_lake, open_store
from coinbase_assets.lake.portable_json import to_json
from coinbase_assets.settings import Settings
from coinbase_assets.storage.errors import PartitionMissing
from coinbase_assets.storage.parquet_store import ParquetStore

UNREACHABLE = "check the network, HTTPS_PROXY and COINBASE_API_URL, or try it offline: make demo"
_PATIENCE = 10.0
_ONLINE = "online"


@dataclass(frozen=True)
class KnownProducts:
    """The products, with the columns of PRODUCT_SCHEMA; `source` says where they are from."""

    table: pa.Table
    source: str

    @property
    def traded(self) -> Sequence[str]:
        """The products that are not delisted, ascending."""
        return [row["id"] for row in self.table.to_pylist() if row["status"] != DELISTED]


def known_products(settings: Settings) -> KnownProducts:
    """Ask the exchange for its products; if it does not answer, read them from the lake.

    Raises ExchangeError if the lake has none.
    """
    try:
        with (
            build_exchange(settings).process_config_and_initialize_cm() as exchange,
            exchange.get_client(give_up_after=min(_PATIENCE, settings.give_up_after)) as client,
        ):
            catalogue = client.fetch_products()
            return KnownProducts(catalogue.products, f"from {settings.api_url}")
    except ExchangeError as error:
        if not (stored := _stored_products(settings)):
            if isinstance(error, ExchangeUnreachable):
                raise ExchangeError(f"{error}; {UNREACHABLE}") from None
            raise
        errors.print(f"The exchange does not answer: {error}")
        return stored


def _stored_products(settings: Settings) -> KnownProducts | None:
    if not has_lake(settings):
        return None
    with open_store(settings) as store:
        return _read_products(store)


def _read_products(store: ParquetStore) -> KnownProducts | None:
    path = PRODUCTS.path()
    try:
        table = store.get(path)
    except PartitionMissing:
        return None
    fetched_at = store.find([path])[path].fields.get("fetched_at", "an unknown time")
    return KnownProducts(table, f"from the lake, as of {fetched_at}")


def show_products(
    settings: Settings, text: str, quote: str | None, online: bool, as_json: bool
) -> None:
    """Print the products whose name holds the text, and that trade for `quote`."""
    known = known_products(settings)
    first_days = _first_days(settings)
    rows = [
        {**row, "first_day": first_days.get(row["id"])}
        for row in known.table.to_pylist()
        if text.upper() in row["id"]
        and quote in (None, row["quote_currency"])
        and (not online or _is_online(row))
    ]
    if as_json:
        print(to_json([{**row, "first_day": _text(row["first_day"])} for row in rows], indent=2))
        return
    console.print_table(
        ("product", "quote", "status", "first day"),
        [
            (row["id"], row["quote_currency"] or "-", _status(row), _text(row["first_day"]) or "-")
            for row in rows
        ],
    )
    console.print(f"{len(rows)} of {known.table.num_rows} products, {known.source}")


def _is_online(row: dict[str, Any]) -> bool:
    return row["status"] == _ONLINE and not row["trading_disabled"]


def _status(row: dict[str, Any]) -> str:
    is_stopped = row["status"] == _ONLINE and row["trading_disabled"]
    return "trading disabled" if is_stopped else row["status"] or "-"


def _text(day: date | None) -> str | None:
    return str(day) if day else None


def _first_days(settings: Settings) -> dict[str, date]:
    """Return the first days of trade that the lake knows, by product."""
    if not has_lake(settings):
        return {}
    with open_store(settings) as store:
        found = {}
        for path in store.list(LISTINGS.folder()):
            if place := place_of(path):
                first, *_ = store.get(path).to_pylist()
                if day := Lifetime.from_row(first).first_day:
                    found[place.key] = day
        return found
