"""Updates of the raw days in the lake: fetched, compared, merged, and their changes recorded."""

import logging
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING

import pyarrow as pa

from coinbase_assets.candles.calendar import DAY, day_start
from coinbase_assets.candles.datasets import RAW_CANDLES
from coinbase_assets.candles.day_cutting import cut_days
from coinbase_assets.candles.days import Day
from coinbase_assets.candles.proofs import proofs_table
from coinbase_assets.candles.revisions import (
    REVISION_SCHEMA,
    compare_days,
    count_changes,
    revisions_path,
)
from coinbase_assets.candles.rules import validate_candles
from coinbase_assets.candles.series import Series
from coinbase_assets.candles.table import clip_candles
from coinbase_assets.candles.windows import MAX_CANDLES
from coinbase_assets.collection.allowance import Allowance
from coinbase_assets.collection.listing_dates import Lifetimes
from coinbase_assets.collection.reconciler import Reconciled, Reconciler
from coinbase_assets.collection.stored_proofs import proofs_path
from coinbase_assets.collection.trade_search import TradeSearch
from coinbase_assets.collection.trade_verdicts import settle_by_trades
from coinbase_assets.completeness.agreement import DAYS_REMEMBERED, Agreement, parse_agreement
from coinbase_assets.completeness.weighing import weigh
from coinbase_assets.exchange.errors import ProductNotFound, ProductRemoved
from coinbase_assets.exchange.resource import BlockingExchange
from coinbase_assets.storage.concurrency import map_concurrently
from coinbase_assets.storage.io_manager import Update, leave_as_it_is
from coinbase_assets.storage.stored_blob import StoredBlob
from coinbase_assets.table_metadata import with_fields

if TYPE_CHECKING:
    from coinbase_assets.storage.parquet_store import ParquetStore


@dataclass(frozen=True)
class DaysToCollect:
    """The days of a series to collect: partition keys, ascending.

    `stored` has the blobs of the days that are in the lake. Days in `kept` are left as they are,
    without a request. Other days are fetched from their start, or from their time in `since`. Days
    of a `live` refresh are not compared with coarser candles. A run that is `healing` days may send
    more requests for each. With `all_trades`, trades are asked for at every hole.
    """

    series: Series
    keys: Sequence[str]
    stored: Mapping[str, StoredBlob]
    kept: Collection[str]
    since: Mapping[str, datetime]
    live: bool
    healing: bool = False
    all_trades: bool = False

    @property
    def spans(self) -> Iterator[tuple[datetime, datetime]]:
        """Yield what is asked for: from a time on until another, ascending."""
        for is_kept, span in groupby(self.keys, key=self.kept.__contains__):
            if not is_kept:
                yield self.span(list(span))

    def span(self, keys: Sequence[str]) -> tuple[datetime, datetime]:
        """Return from when to when these adjoining days are asked for."""
        return self.since.get(keys[0], day_start(keys[0])), day_start(keys[-1]) + DAY

    @property
    def allowance(self) -> Allowance:
        """The requests that the run may send beyond those for its candles."""
        days = len(self.keys) - len(self.kept)
        if self.healing:
            return Allowance.of_healing(days)
        return Allowance.of_collection(days * (DAY // self.series.granularity.delta) // MAX_CANDLES)


@dataclass(frozen=True)
class DayUpdates:
    """The updates of the days' blobs in the lake at `store`.

    `fetched_from` is the exchange's URL, which is stored with each day.
    """

    days: DaysToCollect
    store: "ParquetStore"
    fetched_from: str
    log: logging.Logger

    def updates(
        self, client: AbstractContextManager[BlockingExchange]
    ) -> Iterator[tuple[str, Update]]:
        """Yield each day's key and the update of its blob. Raises ExchangeError, StorageError."""
        allowance = self.days.allowance
        with client as exchange, self._explained_removal(exchange):
            for is_kept, span in groupby(self.days.keys, key=self.days.kept.__contains__):
                keys = list(span)
                if is_kept:
                    yield from ((key, leave_as_it_is) for key in keys)
                else:
                    fetched = self._fetch(exchange, keys, allowance)
                    yield from zip(keys, map(self.update, fetched), strict=True)

    @contextmanager
    def _explained_removal(self, exchange: BlockingExchange) -> Iterator[None]:
        """Raise ProductRemoved in place of ProductNotFound if the lake has candles."""
        try:
            yield
        except ProductNotFound as error:
            product = self.days.series.product
            last_day = Lifetimes(self.store).learn_removal(exchange, product)
            if last_day is None:
                raise
            raise ProductRemoved(
                f"{self.days.series}: the exchange has removed {product}; the lake keeps its"
                f" candles, up to {last_day}; remove {product} from COINBASE_SERIES"
            ) from error

    def _fetch(
        self, exchange: BlockingExchange, keys: Sequence[str], allowance: Allowance
    ) -> Iterator[Reconciled]:
        """Yield the days from the exchange, compared with its coarser candles unless `live`."""
        series, starts = self.days.series, [day_start(key) for key in keys]
        since, end = self.days.span(keys)
        days = cut_days(exchange.fetch_candles(series, since, end), series, starts)
        if self.days.live:
            yield from map(Reconciled, days)
            return
        nearest = self._agreements_around(starts[0])
        span = (starts[0], end)
        trades = TradeSearch(exchange, self.store, series.product, allowance)
        reconciler = Reconciler(exchange, series, *span, nearest, allowance)
        lifetimes = Lifetimes(self.store)
        with closing(self._stored(keys)) as stored:
            for day, before in zip(days, stored, strict=True):
                reconciled = reconciler.reconcile(day, before)
                _learn_lifetime(lifetimes, exchange, reconciler, reconciled.day)
                traded = reconciled.day.candles.num_rows > 0
                if traded or lifetimes.may_include(series.product, day.start.date()):
                    every_hole = self.days.all_trades
                    reconciled = settle_by_trades(reconciled, before, trades, every_hole)
                else:
                    reconciled = replace(reconciled, outside_lifetime=True)
                reconciler.learn(reconciled, before)
                yield reconciled

    def _stored(self, keys: Sequence[str]) -> Generator[Day | None]:
        """Yield each day as it is stored now, None if it was not stored when the run began."""

        def read(key: str) -> Day:
            return self._read(day_start(key), blobs[key].path)

        blobs = self.days.stored
        with closing(map_concurrently(read, filter(blobs.__contains__, keys))) as days:
            yield from (next(days) if key in blobs else None for key in keys)

    def _read(self, start: datetime, path: str, etag: str | None = None) -> Day:
        return Day.from_table(self.days.series, start, self.store.get(path, etag=etag))

    def update(self, fetched: Reconciled) -> Update:
        """Return the Update that merges the day into its blob.

        Before it returns the new table, the Update stores a record of the candles that change. If
        another run writes the blob first, the Update runs again and replaces its record. If nothing
        is then left to change, its first record stays: the exchange did give that answer, the other
        run may have made the record itself, and normal operation deletes nothing.
        """

        def replacement(stored: StoredBlob | None) -> pa.Table:
            day = fetched.day
            before = self._read(day.start, stored.path, stored.etag) if stored else None
            merged = self._merged(fetched, before)
            self._store_proofs(merged)
            revisions = REVISION_SCHEMA.empty_table()
            if before:
                revisions = compare_days(before, day, merged)
                # If an earlier put succeeded unnoticed, `before` holds this very answer.
                earlier = before.closed and before.refreshed_at < day.refreshed_at
                is_repeated = merged.repeated or (earlier and not revisions.num_rows)
                merged = replace(merged, repeated=is_repeated)
            self._record(day, revisions)
            unanswered = _covered(merged, day).num_rows - day.candles.num_rows
            fields = {
                **count_changes(revisions),
                **self._count_revisions(stored, day, revisions),
                "candles_unanswered": str(unanswered),
            }
            return with_fields(merged.to_table(self.fetched_from), fields)

        return replacement

    def _record(self, day: Day, revisions: pa.Table) -> None:
        if revisions.num_rows:
            path = revisions_path(day)
            self.store.put(path, revisions, self.store.find([path]).get(path))

    def _count_revisions(
        self, stored: StoredBlob | None, day: Day, newest: pa.Table
    ) -> Mapping[str, str]:
        """Return how many files hold revisions of the day, and how many were lost."""
        kept = dict(stored.fields) if stored else {}
        if newest.num_rows:
            folder = revisions_path(day).rpartition("/")[0]
            kept["revisions"] = str(len(self.store.list(f"{folder}/")))
        return {name: kept[name] for name in ("revisions", "revisions_lost") if name in kept}

    def _merged(self, fetched: Reconciled, before: Day | None) -> Day:
        """Return the day that replaces `before`. Raises InvalidCandles."""
        day, witnesses = fetched.day, fetched.witnesses
        merged = day.merged_with(before, fetched.absent) if before else day
        validate_candles(merged.candles, day.series.granularity, day.start, day.start + DAY)
        if not witnesses:
            return merged
        tries = before.evidence.tries if before and before.evidence else 0
        evidence = weigh(merged, witnesses, tries)
        if evidence.disagreement:
            self.log.warning(f"{day.series} {day.start:%F}: {evidence.disagreement}")
        is_outside = fetched.outside_lifetime and not merged.candles.num_rows
        return replace(merged, evidence=replace(evidence, outside_lifetime=is_outside))

    def _store_proofs(self, day: Day) -> None:
        """Store what is known of each hole before the day that names it by its digest."""
        if day.evidence and day.evidence.proofs:
            path = proofs_path(day.series, f"{day.start:%F}")
            table = with_fields(proofs_table(day.evidence.proofs), {"series": str(day.series)})
            self.store.put(path, table, self.store.find([path]).get(path))

    def _agreements_around(self, start: datetime) -> Sequence[Agreement]:
        """Return what coarser candles said of the stored days around, the nearest last."""
        nearest_last = sorted(range(-DAYS_REMEMBERED, DAYS_REMEMBERED + 1), key=abs, reverse=True)
        keys = [f"{start + n * DAY:%F}" for n in nearest_last]
        blobs = self.store.find_partitions(RAW_CANDLES.path(self.days.series), keys)
        fields = (blobs[key].fields for key in keys if key in blobs)
        return [parse_agreement(each.get("agreement", "")) for each in fields]


def _covered(day: Day, fetched: Day) -> pa.Table:
    """Return the candles of `day` in the time range that `fetched` covers."""
    return clip_candles(day.candles, fetched.answered_from, fetched.answered_through)


def _learn_lifetime(
    lifetimes: Lifetimes, exchange: BlockingExchange, reconciler: Reconciler, day: Day
) -> None:
    """Find out the product's first or last day, if the day may be outside its lifetime."""
    product, as_of = day.series.product, day.refreshed_at
    if day.candles.num_rows:
        lifetimes.learn_trade(product, day.start.date())
    if reconciler.may_precede_listing(day):
        lifetimes.learn_listing(exchange, product, as_of)
    if reconciler.may_follow_delisting(day):
        lifetimes.learn_delisting(exchange, product, day.start.date(), as_of)
