"""The stored months of a series' candles, from its history and from its rollups.

The exchange's own candles come first. Days that were not collected come from a rollup. Candles of
a length that is not stored are made of shorter ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from coinbase_assets.candles.calendar import DAY, day_start, days_between, month_range
from coinbase_assets.candles.datasets import CANDLE_HISTORY, CANDLE_ROLLUP, Dataset, place_of
from coinbase_assets.candles.months import answered_until
from coinbase_assets.candles.rollups import roll_up, source_months
from coinbase_assets.candles.series import CandleSeries, Rollup, Series
from coinbase_assets.candles.table import SCHEMA, InvalidCandles, conform, merge_candles
from coinbase_assets.lake.stock import stored_partitions
from coinbase_assets.storage.errors import BlobDamaged, PartitionMissing
from coinbase_assets.storage.parquet_store import ParquetStore

# Columns that blobs of earlier versions may lack.
_OPTIONAL = [field.name for field in SCHEMA if field.nullable]


@dataclass(frozen=True)
class CandleMonth:
    """The candles of a month, ascending, and until when each of its days (keys) is answered."""

    candles: pa.Table
    answered: Mapping[str, datetime]


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


def stored_months(store: ParquetStore, series: CandleSeries) -> set[str]:
    """Return the months that the history or the rollups of a series have."""
    return {
        month
        for dataset in (CANDLE_HISTORY, CANDLE_ROLLUP)
        for month in stored_partitions(store, dataset, series)
    }


def shorter_series(store: ParquetStore, series: CandleSeries) -> list[Series]:
    """Return the collected series whose candles the longer ones of this series can be made of."""
    length = series.granularity.seconds
    return [
        other
        for other in stored_series(store)
        if isinstance(other, Series)
        and other.product == series.product
        and other.granularity.seconds < length
        and not length % other.granularity.seconds
        and stored_partitions(store, CANDLE_HISTORY, other)
    ]


def collected_source(store: ParquetStore, series: CandleSeries) -> Series | None:
    """Return the series itself if it is collected, else the longest that it can be made of."""
    if isinstance(series, Series) and stored_partitions(store, CANDLE_HISTORY, series):
        return series
    return max(
        shorter_series(store, series), key=lambda each: each.granularity.seconds, default=None
    )


def load_month(
    store: ParquetStore, series: CandleSeries, month: str, columns: Sequence[str]
) -> CandleMonth | None:
    """Return the month with these columns; None if it is not stored.

    The rollup is only downloaded if the history lacks days.
    """
    tables, answered = list[pa.Table](), dict[str, datetime]()
    for dataset in (CANDLE_HISTORY, CANDLE_ROLLUP):
        if not unanswered_days(*month_range(month), answered):
            break
        if (table := _load(store, dataset, series, month, columns)) is not None:
            # The candles that are merged last win.
            tables.insert(0, conform(table, columns))
            answered = later_ends(answered_until(table), answered)
    if not tables:
        return None
    return CandleMonth(merge_candles(*tables) if len(tables) > 1 else tables[0], answered)


def later_ends(*answered: Mapping[str, datetime]) -> dict[str, datetime]:
    """Return until when each day is answered in any of these."""
    ends = dict[str, datetime]()
    for each in answered:
        ends |= {day: max(end, ends.get(day, end)) for day, end in each.items()}
    return ends


def unanswered_days(
    start: datetime, end: datetime, answered: Mapping[str, datetime]
) -> Sequence[str]:
    """Return the days from `start` until `end` that are not answered to their end, or to `end`."""
    return [
        day
        for day in days_between(start, end)
        if day not in answered or answered[day] < min(day_start(day) + DAY, end)
    ]


def fold_month(store: ParquetStore, rollup: Rollup, month: str) -> CandleMonth:
    """Return the month's longer candles, made of the stored months of history, all columns.

    Raises BlobDamaged for history of version 0.1.
    """
    sources = source_months(rollup.granularity, month)
    history = [_load(store, CANDLE_HISTORY, rollup.made_of, each) for each in sources]
    stored = [table for table in history if table is not None]
    try:
        table = roll_up(rollup, month, stored)
        answered = {day: end for each in stored for day, end in answered_until(each).items()}
    except InvalidCandles as error:
        raise BlobDamaged(f"{rollup.made_of} {month}: {error}") from None
    return CandleMonth(conform(table), answered)


def _load(
    store: ParquetStore,
    dataset: Dataset,
    series: CandleSeries,
    month: str,
    columns: Sequence[str] | None = None,
) -> pa.Table | None:
    path = dataset.path(series).format(partition=month)
    try:
        return store.get(path, columns, optional=_OPTIONAL)
    except PartitionMissing:
        return None
