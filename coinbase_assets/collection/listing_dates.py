"""When products were traded: found out from the exchange, and kept in the lake.

A stored day changes if answers or candles contradict it.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from coinbase_assets.candles.calendar import DAY
from coinbase_assets.candles.catalogue import LISTING_SCHEMA
from coinbase_assets.candles.datasets import LISTINGS, RAW_CANDLES
from coinbase_assets.candles.evidence import Lifetime, with_end, with_trade
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
        self._known: dict[str, Sequence[Lifetime]] = {}
        self._still_listed: set[str] = set()

    def get(self, product: str) -> Sequence[Lifetime]:
        """Return the product's lifetimes, ascending: at least one, perhaps with unknown days."""
        if product not in self._known:
            self._known[product] = self._read(self._find(product))
        return self._known[product]

    def may_include(self, product: str, day: date) -> bool:
        """Return whether the product may have been traded on the day, as far as is known."""
        known = self.get(product)
        is_over = any(each.ended_before(day) for each in known)
        return not is_over and not _precedes_listing(day, known[0])

    def learn_trade(self, product: str, day: date) -> None:
        """Correct the lifetimes if none of them has this day, on which there was a trade."""
        known = self.get(product)
        if with_trade(known, day) != known:
            self._put(product, lambda lifetimes: with_trade(lifetimes, day))

    def learn_listing(self, exchange: BlockingExchange, product: str, as_of: datetime) -> None:
        """Find out the first day from the exchange and store it, if it is not known yet.

        While the product has no first day, the exchange is asked at most once a day, going by
        `as_of`. Raises ExchangeError.
        """
        known = self.get(product)[0]
        if known.first_day:
            return
        if known.asked_at and not known.last_day and as_of < known.asked_at + DAY:
            return
        day = fetch_listing(exchange, product, as_of.date()).day
        self._put(product, lambda lifetimes: _with_first(lifetimes, first_day=day, asked_at=as_of))

    def learn_delisting(
        self, exchange: BlockingExchange, product: str, day: date, as_of: datetime
    ) -> None:
        """Find out the last day and store it, if the exchange does not trade the product any more.

        `day` is a day without trades. It is ignored if the stored lifetimes already exclude it. The
        list of products is requested at most once for each product. Raises ExchangeError.
        """
        known = self.get(product)
        if product in self._still_listed or _precedes_listing(day, known[0]):
            return
        if any(lifetime.ended_before(day) for lifetime in known):
            return
        if _is_traded(exchange, product):
            self._still_listed.add(product)
            return
        if last_day := fetch_last_day(exchange, product, as_of.date()):
            self._put(product, lambda lifetimes: with_end(lifetimes, last_day, as_of))

    def learn_removal(self, exchange: BlockingExchange, product: str) -> date | None:
        """Store that the exchange has removed the product, if the lake has its candles.

        Returns the day of the last stored candle. Returns None, and stores nothing, if the list of
        products has the product, or if the lake has no candle of it. Raises ExchangeError.
        """
        catalogue = exchange.fetch_products()
        last_day = self._last_stored_day(product)
        if last_day is None or product in catalogue.products["id"].to_pylist():
            return None
        self._put(product, lambda lifetimes: with_end(lifetimes, last_day, catalogue.as_of))
        return last_day

    def _last_stored_day(self, product: str) -> date | None:
        """Return the newest raw day with a candle, of all granularities."""
        blobs = self._store.list(f"{RAW_CANDLES.folder()}product={product}/").values()
        days = [blob.path.split("/")[-2].partition("=")[2] for blob in blobs if _has_rows(blob)]
        return date.fromisoformat(max(days)) if days else None

    def _put(
        self, product: str, change: Callable[[Sequence[Lifetime]], Sequence[Lifetime]]
    ) -> None:
        """Change the stored lifetimes, and keep what another run has stored there meanwhile."""
        while True:
            found = self._find(product)
            known = change(self._read(found))
            table = pa.Table.from_pylist([vars(each) for each in known], LISTING_SCHEMA)
            with suppress(BlobChanged):
                self._store.put(_path(product), with_fields(table, {"product": product}), found)
                self._known[product] = known
                return

    def _read(self, found: StoredBlob | None) -> Sequence[Lifetime]:
        rows = self._store.get(found.path).to_pylist() if found else [{}]
        return [Lifetime.from_row(row) for row in rows]

    def _find(self, product: str) -> StoredBlob | None:
        return self._store.find([_path(product)]).get(_path(product))


def _with_first(lifetimes: Sequence[Lifetime], **changes: Any) -> Sequence[Lifetime]:
    first, *later = lifetimes
    return [replace(first, **changes), *later]


def _precedes_listing(day: date, known: Lifetime) -> bool:
    """Return whether the day is before the product's first trade, as far as that is known."""
    return known.asked_at is not None and (known.first_day is None or day < known.first_day)


def _is_traded(exchange: BlockingExchange, product: str) -> bool:
    products = exchange.fetch_products().products.to_pylist()
    return any(row["id"] == product and row["status"] != DELISTED for row in products)


def _has_rows(blob: StoredBlob) -> bool:
    return int(blob.fields["rows"]) > 0


def _path(product: str) -> str:
    return LISTINGS.path().format(partition=product)
