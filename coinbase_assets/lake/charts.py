"""Pictures of a series, drawn from the candles and ledgers in the lake."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from coinbase_assets.candles.calendar import DAY, day_start, month_of
from coinbase_assets.candles.datasets import CANDLE_CHART, CANDLE_COVERAGE, CANDLE_HISTORY, Dataset
from coinbase_assets.candles.rollups import coarsen_candles
from coinbase_assets.candles.series import Series
from coinbase_assets.candles.table import clip_candles, conform, empty_candles
from coinbase_assets.completeness.ledger import COVERAGE_SCHEMA
from coinbase_assets.lake.stock import stored_partitions
from coinbase_assets.storage.concurrency import map_concurrently
from coinbase_assets.storage.stored_blob import StoredBlob

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from coinbase_assets.storage.parquet_store import ParquetStore

DAYS = 30
"""The days that a picture shows by default."""
LAST_DAY = "last_day"
"""The field of a stored picture with the last day that it shows."""


def last_candle(store: "ParquetStore", series: Series) -> datetime | None:
    """Return the start of the newest candle's bucket; None without candles."""
    months = stored_partitions(store, CANDLE_HISTORY, series).values()
    times = [blob.fields["last_candle"] for blob in months if blob.fields.get("last_candle")]
    return max(map(datetime.fromisoformat, times), default=None)


def is_chart_old(store: "ParquetStore", series: Series, was_drawn: bool) -> bool:
    """Return whether the stored picture lacks the newest day, or is gone though it `was_drawn`."""
    path = CANDLE_CHART.path(series)
    stored = store.find([path]).get(path)
    newest = last_candle(store, series) if stored or was_drawn else None
    return bool(newest and (not stored or stored.fields.get(LAST_DAY) != str(newest.date())))


def draw_days(
    store: "ParquetStore",
    series: Series,
    first: date,
    last: date,
    calendar_until: date,
    step: int | None = None,
) -> "Figure | None":
    """Draw the candles from the first to the last day, both inclusive, UTC; None without candles.

    Days before the first candle and after the last one are left out. The candles drawn have `step`
    seconds, by default as few as fit into the picture. Below the candles, a calendar shows the
    ledger of the year up to `calendar_until`.
    """
    # matplotlib takes a second to load; only processes that draw wait for it.
    from coinbase_assets.lake import completeness_calendar, drawing

    start, end = _days_with_candles(store, series, first, last)
    step = step or drawing.drawn_step(series, start, end)
    begin, until = drawing.whole_buckets(start, end, step)
    months = _tables(store, CANDLE_HISTORY, series, begin.date(), until.date())
    # Each month is coarsened as it comes, since the candles of years may not fit into memory.
    parts = [coarsen_candles(clip_candles(conform(month), begin, until), step) for month in months]
    candles = pa.concat_tables([empty_candles(), *parts])
    if not candles.num_rows:
        return None
    earliest = calendar_until - (completeness_calendar.DAYS - 1) * DAY
    ledgers = _tables(store, CANDLE_COVERAGE, series, earliest, calendar_until)
    ledger = pa.concat_tables([COVERAGE_SCHEMA.empty_table(), *ledgers])
    calendar = completeness_calendar.build_calendar(ledger, calendar_until)
    return drawing.draw_candles(candles, series, start, end, calendar, step)


def _days_with_candles(
    store: "ParquetStore", series: Series, first: date, last: date
) -> tuple[datetime, datetime]:
    """Return where the first of these days that has a candle begins, and where the last ends."""
    months = [blob.fields for blob in _stored(store, CANDLE_HISTORY, series, first, last)]
    times = [
        day_start(month[name][:10])
        for month in months
        for name in ("first_candle", "last_candle")
        if month.get(name)
    ]
    start, end = day_start(str(first)), day_start(str(last)) + DAY
    return max(start, min(times, default=start)), min(end, max(times, default=end) + DAY)


def _stored(
    store: "ParquetStore", dataset: Dataset, series: Series, first: date, last: date
) -> Sequence[StoredBlob]:
    """Return the blobs of all months from `first` to `last`, ascending."""
    blobs = stored_partitions(store, dataset, series)
    return [
        blobs[key] for key in sorted(blobs) if month_of(f"{first}") <= key <= month_of(f"{last}")
    ]


def _tables(
    store: "ParquetStore", dataset: Dataset, series: Series, first: date, last: date
) -> Iterator[pa.Table]:
    """Yield the tables of all months from `first` to `last`, without fields."""
    paths = [blob.path for blob in _stored(store, dataset, series, first, last)]
    return (table.replace_schema_metadata(None) for table in map_concurrently(store.get, paths))
