"""The candles of a time range, a month at a time, with the days in it that were not collected."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from threading import Lock

import pyarrow as pa

from coinbase_assets.candles.calendar import day_start, month_range, months_between
from coinbase_assets.candles.datasets import CANDLE_HISTORY, LISTINGS
from coinbase_assets.candles.evidence import Lifetime
from coinbase_assets.candles.filling import AnsweredCandles, Fill, fill_buckets
from coinbase_assets.candles.rollups import touched_months
from coinbase_assets.candles.series import CandleSeries, Rollup, RollupGranularity, Series
from coinbase_assets.candles.table import SCHEMA, clip_candles, merge_candles
from coinbase_assets.lake.candle_months import (
    CandleMonth,
    fold_month,
    later_ends,
    load_month,
    shorter_series,
    stored_months,
    stored_series,
    unanswered_days,
)
from coinbase_assets.lake.errors import CandlesMissing, SeriesNotFound
from coinbase_assets.lake.stock import stored_partitions
from coinbase_assets.storage.concurrency import map_concurrently
from coinbase_assets.storage.errors import PartitionMissing
from coinbase_assets.storage.parquet_store import ParquetStore

# Months downloaded at a time, so that a year has the latency of one month.
_MONTHS_AT_A_TIME = 12
# For at most this many months, downloads without a listing are faster, even if some are missing.
_MOST_UNLISTED = 24
# So long after midnight, the last candles of the day before may still be on their way.
_REFRESHED_AFTER = timedelta(hours=2)
_EARLIEST = datetime(1970, 1, 5, tzinfo=UTC)


def stream_months(
    store: ParquetStore,
    series: CandleSeries,
    start: datetime | None,
    end: datetime,
    columns: Sequence[str],
    fill: Fill | None = None,
    allow_gaps: bool = False,
) -> Iterator[pa.Table]:
    """Yield the candles whose buckets start from `start` until `end`, a table per month.

    By default, they start with the first stored candle. Months that are not stored are left out.
    With `fill`, buckets without a candle have a row as in `fill_buckets`. Raises SeriesNotFound,
    StorageError; at the end CandlesMissing if days of the range were not collected, unless
    `allow_gaps`.
    """
    read = SCHEMA.names if fill else list(dict.fromkeys(["time", *columns]))
    reading = _Reading(store, series, start, end, read)
    if fill:
        tables = fill_buckets(_by_day(reading.months()), series.granularity.seconds, fill)
    else:
        tables = (month.candles for month in reading.months())
    for table in tables:
        start = start or _first_time(table)
        if start:
            yield clip_candles(table, start, end).select(columns)
    if not allow_gaps and (missing := reading.missing_days()):
        raise CandlesMissing(reading.collectable, missing)


@dataclass
class _Reading:
    """What is read for a range: the months, and until when their days are answered."""

    store: ParquetStore
    series: CandleSeries
    start: datetime | None
    end: datetime
    columns: Sequence[str]
    answered: dict[str, datetime] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def months(self) -> Iterator[CandleMonth]:
        """Yield the months that are stored, or that can be made of shorter candles.

        Raises SeriesNotFound if there are none at all.
        """
        is_found = False
        for month in filter(None, map_concurrently(self._month, self._wanted(), _MONTHS_AT_A_TIME)):
            is_found = True
            self.answered |= month.answered
            yield month
        if not is_found and not self.source and not stored_months(self.store, self.series):
            stored = ", ".join(map(str, stored_series(self.store)))
            raise SeriesNotFound(
                f"{self.series}: not in the lake; it holds"
                f" {stored or 'no history; collect some first'}"
            )

    def _wanted(self) -> Sequence[str]:
        """Return the months to read; of a short range, those that are missing, too."""
        wanted = months_between(self.start or _EARLIEST, self.end)
        if self.start and len(wanted) <= _MOST_UNLISTED:
            return wanted
        made = self._sources[self.source] if self.source else ()
        known = stored_months(self.store, self.series) | {*made}
        return [month for month in wanted if month in known]

    def _month(self, month: str) -> CandleMonth | None:
        """Return a month; the days that are not stored are made of shorter candles."""
        stored = load_month(self.store, self.series, month, self.columns)
        first, last = month_range(month)
        start = max(first, self.start or first)
        answered = stored.answered if stored else {}
        if not unanswered_days(start, min(last, self.end, _surely_over()), answered):
            return stored
        source = self.source
        if not source or month not in self._sources[source]:
            return stored
        length = RollupGranularity(self.series.granularity.value)
        rollup = Rollup(self.series.product, length, source)
        made = fold_month(self.store, rollup, month)
        candles = made.candles.select(self.columns)
        if not stored:
            return CandleMonth(candles, made.answered)
        return CandleMonth(
            merge_candles(candles, stored.candles), later_ends(made.answered, stored.answered)
        )

    @property
    def collectable(self) -> CandleSeries:
        """The series whose collection adds the days that are missing."""
        has_history = stored_partitions(self.store, CANDLE_HISTORY, self.series)
        return self.series if has_history else self.source or self.series

    @property
    def source(self) -> Series | None:
        """The collected series with most of the range that longer candles can be made of."""
        sources = self._sources
        return max(
            sources, key=lambda each: (len(sources[each]), each.granularity.seconds), default=None
        )

    @property
    def _sources(self) -> Mapping[Series, Sequence[str]]:
        """The collected series that this series can be made of, with its months that they give."""
        with self._lock:
            return self._listed_sources

    @cached_property
    def _listed_sources(self) -> Mapping[Series, Sequence[str]]:
        length = self.series.granularity
        wanted = {*months_between(self.start or _EARLIEST, self.end)}
        found = dict[Series, Sequence[str]]()
        for other in shorter_series(self.store, self.series):
            history = stored_partitions(self.store, CANDLE_HISTORY, other)
            touched = {each for month in history for each in touched_months(length, month)}
            found[other] = sorted(touched & wanted)
        return found

    def missing_days(self) -> Sequence[str]:
        """Return the days of the range that are over, but were not collected."""
        today = _surely_over()
        start = self.start or (day_start(min(self.answered)) if self.answered else today)
        days = unanswered_days(start, min(self.end, today), self.answered)
        lifetimes = _lifetimes(self.store, self.series.product) if days else []
        return [day for day in days if not _is_outside(date.fromisoformat(day), lifetimes)]


def _surely_over() -> datetime:
    """Return the start of today; shortly after midnight, that of yesterday."""
    over = datetime.now(UTC) - _REFRESHED_AFTER
    return over.replace(hour=0, minute=0, second=0, microsecond=0)


def _by_day(months: Iterator[CandleMonth]) -> Iterator[AnsweredCandles]:
    for month in months:
        yield month.candles, {day_start(day): until for day, until in month.answered.items()}


def _first_time(candles: pa.Table) -> datetime | None:
    return candles["time"][0].as_py() if candles.num_rows else None


def _lifetimes(store: ParquetStore, product: str) -> Sequence[Lifetime]:
    with suppress(PartitionMissing):
        listing = store.get(LISTINGS.path().format(partition=product))
        return [Lifetime.from_row(row) for row in listing.to_pylist()]
    return []


def _is_outside(day: date, lifetimes: Sequence[Lifetime]) -> bool:
    """Whether the day is before the product's first trade, or after the end of its trade."""
    if not lifetimes:
        return False
    first = lifetimes[0].first_day
    return bool(first and day < first) or any(each.ended_before(day) for each in lifetimes)
