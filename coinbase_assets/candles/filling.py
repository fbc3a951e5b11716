"""Rows for the buckets in which nothing was traded. Pure: no I/O."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coinbase_assets.candles.rollups import MONDAY, is_answered
from coinbase_assets.candles.table import COLUMNS, SCHEMA, TIME_TYPE, epoch_seconds

Fill = Literal["previous", "nan"]
"""What an empty bucket gets: the previous close with volume 0, or NaN."""
FILLS: tuple[Fill, ...] = get_args(Fill)

AnsweredCandles = tuple[pa.Table, Mapping[datetime, datetime]]
"""Candles, all columns, and until when each of their days, by its start, is answered."""


def fill_buckets(parts: Iterable[AnsweredCandles], seconds: int, fill: Fill) -> Iterator[pa.Table]:
    """Yield the candles of each part with a row for every bucket of `seconds` that is answered.

    The parts are ascending. With "previous", the prices of an empty bucket are the close before
    it, and its volume is 0; before the first candle they are NaN. With "nan", all are NaN. A bucket
    that was not collected gets no row. Optional columns are null.
    """
    close = float("nan")
    for candles, answered in parts:
        filled = _with_rows(candles, _answered_buckets(seconds, answered))
        if fill == "previous":
            filled = _with_previous(filled, close)
            if filled.num_rows:
                close = filled["close"][-1].as_py()
        yield _without_nulls(filled)


def _answered_buckets(seconds: int, answered: Mapping[datetime, datetime]) -> np.ndarray:
    """Return the starts, in epoch seconds, of the buckets that begin on these days."""
    if not answered:
        return np.array([], np.int64)
    begin, end = (int(day.timestamp()) for day in (min(answered), max(answered)))
    first = -((MONDAY - begin) // seconds) * seconds + MONDAY
    starts = np.arange(first, end + 86_400, seconds)
    return starts[is_answered(starts, seconds, answered)] if len(starts) else starts


def _with_rows(candles: pa.Table, starts: np.ndarray) -> pa.Table:
    """Return the candles with a row of nulls for each of these starts that has no candle."""
    lacking = np.setdiff1d(starts, epoch_seconds(candles["time"]))
    times = pa.array(lacking * 1_000_000).cast(TIME_TYPE)
    rows = pa.table([times, *(pa.nulls(len(times), column.type) for column in COLUMNS)], SCHEMA)
    return pa.concat_tables([candles, rows]).sort_by("time")


def _with_previous(candles: pa.Table, close: float) -> pa.Table:
    """Return the candles with the close before them in place of null prices, and volume 0."""
    closes = pa.concat_arrays([pa.array([close]), *candles["close"].chunks])
    previous = pc.fill_null_forward(closes)[1:]
    for column in COLUMNS:
        if column.required:
            value = 0.0 if column.name == "volume" else previous
            values = pc.coalesce(candles[column.name], value)
            candles = candles.set_column(
                candles.column_names.index(column.name), SCHEMA.field(column.name), values
            )
    return candles


def _without_nulls(candles: pa.Table) -> pa.Table:
    required = [column.name for column in COLUMNS if column.required]
    columns = [
        pc.fill_null(candles[name], float("nan")) if name in required else candles[name]
        for name in candles.column_names
    ]
    return pa.table(columns, SCHEMA)
