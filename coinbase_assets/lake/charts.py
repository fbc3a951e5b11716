"""Which candles and which ledgers a picture of a series shows."""

from collections.abc import Iterator
from datetime import date, datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from coinbase_assets.candles.calendar import DAY, day_start, month_of
from coinbase_assets.candles.datasets import CANDLE_COVERAGE, CANDLE_HISTORY
from coinbase_assets.candles.rollups import coarsen_candles
from coinbase_assets.candles.series import Series
from coinbase_assets.candles.table import clip_candles, conform, empty_candles
from coinbase_assets.completeness.ledger import COVERAGE_SCHEMA
from coinbase_assets.storage.concurrency import map_concurrently

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from coinbase_assets.storage.parquet_store import ParquetStore

DAYS = 30


def last_candle(store: "ParquetStore", series: Series) -> datetime | None:
    """The start of the newest candle's bucket; None if there are no candles."""
    months = store.list_partitions(CANDLE_HISTORY.folder(series)).values()
    found = [blob.fields["last_candle"] for blob in months if blob.fields.get("last_candle")]
    return max(map(datetime.fromisoformat, found), default=None)


def draw_days(
    store: "ParquetStore", series: Series, first: date, last: date, calendar_until: date
) -> "Figure | None":
    """The candles from the first to the last day, both inclusive, UTC; None if there are none."""
    # It takes a second to load, and only who draws should wait for it.
    from coinbase_assets.lake import drawing

    start, end = day_start(str(first)), day_start(str(last + DAY))
    step = drawing.drawn_step(series, start, end)
    months = _tables(store, CANDLE_HISTORY.folder(series), first, last)
    # Each month at once, since those of years may not fit into memory.
    parts = [coarsen_candles(clip_candles(conform(one), start, end), step) for one in months]
    candles = pa.concat_tables([empty_candles(), *parts])
    if not candles.num_rows:
        return None
    begin = calendar_until - (drawing.CALENDAR_DAYS - 1) * DAY
    ledgers = _tables(store, CANDLE_COVERAGE.folder(series), begin, calendar_until)
    ledger = pa.concat_tables([COVERAGE_SCHEMA.empty_table(), *ledgers])
    calendar = drawing.build_calendar(ledger, calendar_until)
    return drawing.draw_candles(candles, series, start, end, calendar)


def _tables(store: "ParquetStore", folder: str, first: date, last: date) -> Iterator[pa.Table]:
    """The months' tables from that of the first to that of the last day, without their fields."""
    blobs = store.list_partitions(folder)
    paths = [
        blobs[key].path
        for key in sorted(blobs)
        if month_of(f"{first}") <= key <= month_of(f"{last}")
    ]
    return (table.replace_schema_metadata(None) for table in map_concurrently(store.get, paths))
