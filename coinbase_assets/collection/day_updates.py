"""What becomes of the blobs of raw days: asked for, compared, merged, and what changed recorded."""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING

import pyarrow as pa

from coinbase_assets.candles.calendar import DAY, day_start
from coinbase_assets.candles.day_cutting import cut_days
from coinbase_assets.candles.days import Day
from coinbase_assets.candles.revisions import (
    REVISION_SCHEMA,
    compare_days,
    count_changes,
    revisions_path,
)
from coinbase_assets.candles.rules import validate_candles
from coinbase_assets.candles.series import Series
from coinbase_assets.candles.table import clip_candles
from coinbase_assets.collection.listing_dates import Lifetimes
from coinbase_assets.collection.reconciler import Reconciled, Reconciler
from coinbase_assets.completeness.reconciliation import weigh
from coinbase_assets.exchange.resource import BlockingExchange
from coinbase_assets.storage.concurrency import map_concurrently
from coinbase_assets.storage.io_manager import Update, leave_as_it_is
from coinbase_assets.storage.stored_blob import StoredBlob
from coinbase_assets.table_metadata import with_fields

if TYPE_CHECKING:
    from coinbase_assets.storage.parquet_store import ParquetStore


@dataclass(frozen=True)
class DaysToCollect:
    """Partition keys of a series, ascending, and those of their blobs that are `stored`.

    Days `kept` are not asked for, others from their start, or from `since`. Those of a `live`
    refresh are not compared with coarser candles.
    """

    series: Series
    keys: Sequence[str]
    stored: Mapping[str, StoredBlob]
    kept: Collection[str]
    since: Mapping[str, datetime]
    live: bool


@dataclass(frozen=True)
class DayUpdates:
    """The updates of the days' blobs in the lake at `store`; `source` is the exchange's URL."""

    days: DaysToCollect
    store: "ParquetStore"
    source: str
    log: logging.Logger

    def all(self, client: AbstractContextManager[BlockingExchange]) -> Iterator[tuple[str, Update]]:
        """Each day's key and what to do with its blob. Raises ExchangeError, StorageError."""
        with client as exchange:
            for is_kept, span in groupby(self.days.keys, key=self.days.kept.__contains__):
                keys = list(span)
                if is_kept:
                    yield from ((key, leave_as_it_is) for key in keys)
                else:
                    asked = self._ask(exchange, keys)
                    yield from zip(keys, map(self.update, asked), strict=True)

    def _ask(self, exchange: BlockingExchange, keys: Sequence[str]) -> Iterator[Reconciled]:
        """The days as the exchange answers, compared with its coarser candles unless live."""
        series, starts = self.days.series, [day_start(key) for key in keys]
        since = self.days.since.get(keys[0], starts[0])
        days = cut_days(exchange.fetch_candles(series, since, starts[-1] + DAY), series, starts)
        if self.days.live:
            yield from map(Reconciled, days)
            return
        reconciler = Reconciler(exchange, series, starts[0], starts[-1] + DAY)
        lifetimes = Lifetimes(self.store)
        with closing(map_concurrently(self._stored, keys)) as stored:
            for day, before in zip(days, stored, strict=True):
                reconciled = reconciler.reconcile(day, before)
                _learn_lifetime(lifetimes, exchange, reconciler, reconciled.day)
                yield reconciled

    def _stored(self, key: str) -> Day | None:
        """What is stored of the day by now, if it was when the run began."""
        blob = self.days.stored.get(key)
        return self._read(day_start(key), blob.path) if blob else None

    def _read(self, start: datetime, path: str, etag: str | None = None) -> Day:
        return Day.from_table(self.days.series, start, self.store.get(path, etag=etag))

    def update(self, asked: Reconciled) -> Update:
        """Merge the day into its blob; first record what that changes of the candles stored.

        An update that loses the race for the blob runs again and records again, under the same
        name. If by then nothing changes, the first record stays: the exchange did answer so, it may
        be the winner's own of the same second, and normal operation deletes nothing.
        """

        def replacement(stored: StoredBlob | None) -> pa.Table:
            start = asked.day.start
            before = self._read(start, stored.path, stored.etag) if stored else None
            merged = self._merged(asked, before)
            revisions = REVISION_SCHEMA.empty_table()
            if before:
                revisions = compare_days(before, asked.day, merged)
                # The answer before may be this one, if its own put was not acknowledged.
                earlier = before.closed and before.refreshed_at < asked.day.refreshed_at
                merged = replace(merged, repeated=earlier and not revisions.num_rows)
            if revisions.num_rows:
                path = revisions_path(asked.day)
                self.store.put(path, revisions, self.store.find([path]).get(path))
            unanswered = _covered(merged, asked.day).num_rows - asked.day.candles.num_rows
            fields = {**count_changes(revisions), "candles_unanswered": str(unanswered)}
            return with_fields(merged.to_table(self.source), fields)

        return replacement

    def _merged(self, asked: Reconciled, before: Day | None) -> Day:
        """The day that replaces the one before. Raises InvalidCandles."""
        day, reference = asked.day, asked.reference
        merged = day.merged_with(before, asked.absent) if before else day
        validate_candles(merged.candles, day.series.granularity, day.start, day.start + DAY)
        if not reference:
            return merged
        evidence = weigh(merged, reference)
        if evidence.disagreement or evidence.contradicted:
            self.log.warning(f"{day.series} {day.start:%F}: {evidence.disagreement}")
        return replace(merged, evidence=evidence)


def _covered(day: Day, asked: Day) -> pa.Table:
    return clip_candles(day.candles, asked.answered_from, asked.answered_through)


def _learn_lifetime(
    lifetimes: Lifetimes, exchange: BlockingExchange, reconciler: Reconciler, day: Day
) -> None:
    """Find out whether the product was listed after the day began, or delisted before its end."""
    product, as_of = day.series.product, day.refreshed_at
    if reconciler.may_precede_listing(day):
        lifetimes.learn_listing(exchange, product, as_of)
    if reconciler.may_follow_delisting(day):
        lifetimes.learn_delisting(exchange, product, day.start.date(), as_of)
