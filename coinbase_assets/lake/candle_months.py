"""The stored months of a series' candles, from its history and from its rollups.

The exchange's own candles come first. Days that were not collected come from a rollup.
"""

import logging
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime

import pyarrow as pa

from coinbase_assets.candles.calendar import adjoining, days_between, month_range, months_between
from coinbase_assets.candles.datasets import (
    CANDLE_HISTORY,
    CANDLE_ROLLUP,
    LISTINGS,
    Dataset,
    place_of,
)
from coinbase_assets.candles.months import answered_days
from coinbase_assets.candles.series import CandleSeries
from coinbase_assets.candles.table import SCHEMA, clip_candles, conform, merge_candles
from coinbase_assets.lake.errors import SeriesNotFound
from coinbase_assets.lake.stock import stored_partitions
from coinbase_assets.storage.concurrency import map_concurrently
from coinbase_assets.storage.errors import PartitionMissing
from coinbase_assets.storage.parquet_store import ParquetStore

log = logging.getLogger(__name__)

# Months downloaded at a time, so that a year has the latency of one month.
_MONTHS_AT_A_TIME = 12
# For at most this many months, downloads without a listing are faster, even if some are missing.
_MOST_UNLISTED = 24
# Columns that blobs of earlier versions may lack.
_OPTIONAL = [field.name for field in SCHEMA if field.nullable]


def stored_series(store: ParquetStore) -> list[CandleSeries]:
    """Return the series that the store has a history or rollups of, by product and length.

    Folders whose names are no series are not ours, and left out.
    """
    places = (
        place_of(path)
        for dataset in (CANDLE_HISTORY, CANDLE_ROLLUP)
        for path in store.list(dataset.folder())
    )
    found = {place.series for place in places if place and place.series}
    return sorted(found, key=lambda series: (series.product, series.granularity.seconds))


def stream_months(
    store: ParquetStore,
    series: CandleSeries,
    start: datetime,
    end: datetime,
    columns: Sequence[str],
) -> Iterator[pa.Table]:
    """Yield the candles whose buckets start from `start` until `end`, a table per month.

    Months that are not stored are left out. At the end, logs a warning that names the days of the
    range that were not collected. Raises SeriesNotFound, StorageError.
    """
    read, answered, is_stored = list(dict.fromkeys(["time", *columns])), set[str](), False
    months = _months_to_read(store, series, months_between(start, end))
    loaded = map_concurrently(
        lambda month: _load_month(store, series, month, read), months, _MONTHS_AT_A_TIME
    )
    for table, days in filter(None, loaded):
        is_stored, answered = True, answered | days
        yield clip_candles(table, start, end).select(columns)
    if not is_stored:
        _stored_months(store, series)
    _warn_of_missing_days(store, series, start, end, answered)


def _months_to_read(
    store: ParquetStore, series: CandleSeries, months: Sequence[str]
) -> Sequence[str]:
    if len(months) <= _MOST_UNLISTED:
        return months
    return sorted({*months} & _stored_months(store, series))


def _stored_months(store: ParquetStore, series: CandleSeries) -> AbstractSet[str]:
    """Return the months that the history or the rollups have. Raises SeriesNotFound if none."""
    months = {
        month
        for dataset in (CANDLE_HISTORY, CANDLE_ROLLUP)
        for month in stored_partitions(store, dataset, series)
    }
    if not months:
        listed = ", ".join(map(str, stored_series(store))) or "no history; collect some first"
        raise SeriesNotFound(f"{series}: not in the lake; it holds {listed}")
    return months


def _load_month(
    store: ParquetStore, series: CandleSeries, month: str, columns: Sequence[str]
) -> tuple[pa.Table, AbstractSet[str]] | None:
    """Return the month's candles and its days that are answered to their end.

    The rollup is only downloaded if the history lacks days. Returns None if neither is stored.
    """
    tables, answered = list[pa.Table](), set[str]()
    for dataset in (CANDLE_HISTORY, CANDLE_ROLLUP):
        if answered.issuperset(days_between(*month_range(month))):
            break
        if (table := _load(store, dataset, series, month, columns)) is not None:
            # The candles that are merged last win.
            tables.insert(0, conform(table, columns))
            answered |= answered_days(table)
    if not tables:
        return None
    return merge_candles(*tables) if len(tables) > 1 else tables[0], answered


def _load(
    store: ParquetStore,
    dataset: Dataset,
    series: CandleSeries,
    month: str,
    columns: Sequence[str],
) -> pa.Table | None:
    path = dataset.path(series).format(partition=month)
    try:
        return store.get(path, columns, optional=_OPTIONAL)
    except PartitionMissing:
        return None


def _warn_of_missing_days(
    store: ParquetStore,
    series: CandleSeries,
    start: datetime,
    end: datetime,
    answered: AbstractSet[str],
) -> None:
    """Log the days that are over, are in no stored month, and are in the product's lifetime."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    days = [day for day in days_between(start, min(end, today)) if day not in answered]
    if days:
        first = _first_day(store, series.product)
        days = [day for day in days if day >= first]
    if days:
        spans = [(span[0], span[-1]) for span in adjoining(days, len(days))]
        named = ", ".join(a if a == b else f"{a} to {b}" for a, b in spans)
        log.warning("%s: not collected: %s", series, named)


def _first_day(store: ParquetStore, product: str) -> str:
    """Return the day of the product's first trade, "" if it is not known."""
    try:
        listing = store.get(LISTINGS.path().format(partition=product), ["first_day"])
    except PartitionMissing:
        return ""
    return str(listing["first_day"][0].as_py() or "")
