"""The stored months of a series' candles, from its history or else from its rollups."""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from itertools import chain

import pyarrow as pa

from coinbase_assets.candles.calendar import months_between
from coinbase_assets.candles.datasets import CANDLE_HISTORY, CANDLE_ROLLUP, Dataset
from coinbase_assets.candles.series import CandleSeries, parse_candle_series
from coinbase_assets.candles.table import SCHEMA, clip_candles, conform
from coinbase_assets.lake.errors import SeriesNotFound
from coinbase_assets.storage.concurrency import map_concurrently
from coinbase_assets.storage.errors import PartitionMissing
from coinbase_assets.storage.parquet_store import ParquetStore

# Months downloaded at a time, so that a year has the latency of one month.
_MONTHS_AT_A_TIME = 12
# For at most this many months, downloads without a listing are faster, even if some are missing.
_MOST_UNLISTED = 24
# Columns that blobs of earlier versions may lack.
_OPTIONAL = [field.name for field in SCHEMA if field.nullable]


def stored_series(store: ParquetStore) -> list[CandleSeries]:
    """Return the series that the store has a history or rollups of, by product and length."""
    paths = (
        path for dataset in (CANDLE_HISTORY, CANDLE_ROLLUP) for path in store.list(dataset.folder())
    )
    folders = {tuple(path.split("/")[1:3]) for path in paths}
    names = (":".join(part.partition("=")[2] for part in folder) for folder in folders)
    return sorted(
        map(parse_candle_series, names),
        key=lambda series: (series.product, series.granularity.seconds),
    )


def stream_months(
    store: ParquetStore,
    series: CandleSeries,
    start: datetime,
    end: datetime,
    columns: Sequence[str],
) -> Iterator[pa.Table]:
    """Yield the candles whose buckets start from `start` until `end`, a table per month.

    Months that are not stored are left out. Raises SeriesNotFound, StorageError.
    """
    months = months_between(start, end)
    if len(months) <= _MOST_UNLISTED:
        tables = _load_months(store, CANDLE_HISTORY.path(series), months, start, end, columns)
        if (first := next(tables, None)) is not None:
            yield from chain([first], tables)
            return
    dataset, stored = _stored_months(store, series)
    months = sorted({*months} & {*stored})
    yield from _load_months(store, dataset.path(series), months, start, end, columns)


def _load_months(
    store: ParquetStore,
    template: str,
    months: Sequence[str],
    start: datetime,
    end: datetime,
    columns: Sequence[str],
) -> Iterator[pa.Table]:
    """Yield the months that have a blob; `template` is its path with `{partition}`."""
    read = list(dict.fromkeys(["time", *columns]))

    def load(month: str) -> pa.Table | None:
        try:
            table = store.get(template.format(partition=month), read, optional=_OPTIONAL)
        except PartitionMissing:
            return None
        return clip_candles(conform(table, read), start, end).select(columns)

    tables = map_concurrently(load, months, _MONTHS_AT_A_TIME)
    return (table for table in tables if table is not None)


def _stored_months(store: ParquetStore, series: CandleSeries) -> tuple[Dataset, Collection[str]]:
    """Return the dataset to read and its months: the history, or else the rollups.

    Raises SeriesNotFound if there are neither.
    """
    for dataset in (CANDLE_HISTORY, CANDLE_ROLLUP):
        if months := store.list_partitions(dataset.folder(series)):
            return dataset, months
    listed = ", ".join(map(str, stored_series(store))) or "no history; collect some first"
    raise SeriesNotFound(f"{series}: not in the lake; it holds {listed}")
