"""A month of a rollup, made of months of history. Pure: no I/O.

A coarser candle belongs to the month in which it begins: a week may end in the next one.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import pyarrow as pa

from coinbase_assets.candles.calendar import DAY, day_start, month_of, month_range
from coinbase_assets.candles.days import first_and_last
from coinbase_assets.candles.months import raw_days
from coinbase_assets.candles.series import BucketLength, Rollup
from coinbase_assets.candles.table import SCHEMA, clip_candles, empty_candles
from coinbase_assets.table_metadata import table_fields, with_fields

# Weeks begin with it: the first Monday of the epoch, in its seconds.
MONDAY: Final = 4 * 86_400
_DAY_SECONDS = int(DAY.total_seconds())


def coarsen_candles(candles: pa.Table, seconds: int) -> pa.Table:
    """Sum ascending candles up to longer ones, whose buckets are counted from a Monday, UTC.

    First open, highest high, lowest low, last close, summed volume; where there is none, none.
    """
    if not candles.num_rows:
        return candles
    time = candles["time"].cast(pa.int64()).to_numpy() // 1_000_000 - MONDAY
    bucket = time // seconds * seconds + MONDAY
    first = np.flatnonzero(np.diff(bucket, prepend=bucket[0] - 1))
    last = np.append(first[1:], len(bucket)) - 1
    columns = [
        pa.array(bucket[first] * 1_000_000).cast(SCHEMA.field("time").type),
        candles["open"].to_numpy()[first],
        np.maximum.reduceat(candles["high"].to_numpy(), first),
        np.minimum.reduceat(candles["low"].to_numpy(), first),
        candles["close"].to_numpy()[last],
        np.add.reduceat(candles["volume"].to_numpy(), first),
    ]
    return pa.table(columns, SCHEMA)


def source_months(granularity: BucketLength, month: str) -> list[str]:
    """The months of history that candles which begin in the month are made of, ascending."""
    _, end = _span(granularity, month)
    return list(dict.fromkeys([month, _month_at(end - timedelta(microseconds=1))]))


def touched_months(granularity: BucketLength, month: str) -> list[str]:
    """The months of a rollup that a month of history shows in, ascending."""
    start, _ = month_range(month)
    return list(dict.fromkeys([_month_at(start - _since_bucket_start(granularity, start)), month]))


def roll_up(rollup: Rollup, month: str, history: Sequence[pa.Table]) -> pa.Table:
    """The coarser candles that begin in the month, of those of its `source_months` there are.

    A candle is left out, and counted, if one of its days is not collected, or was not answered up
    to the candle's end. The version is the sum of the history's, so it grows with it.
    Raises InvalidCandles for history of version 0.1.
    """
    bare = [table.replace_schema_metadata(None) for table in history]
    fine = clip_candles(
        pa.concat_tables([empty_candles(), *bare]), *_span(rollup.granularity, month)
    )
    coarse = coarsen_candles(fine, rollup.granularity.seconds)
    answered = {
        day_start(day): datetime.fromisoformat(fields["answered_through"])
        for table in history
        for day, fields in raw_days(table).items()
    }
    complete = _is_complete(coarse, rollup.granularity.seconds, answered)
    candles = coarse.filter(pa.array(complete))
    fields = {
        "series": str(rollup),
        "source": str(rollup.source),
        "version": str(sum(int(table_fields(table)["version"]) for table in history)),
        "candles_left_out": str(coarse.num_rows - candles.num_rows),
        **first_and_last(candles),
    }
    return with_fields(candles, fields)


def _is_complete(
    candles: pa.Table, seconds: int, answered: Mapping[datetime, datetime]
) -> np.ndarray:
    """Of each candle whether all of it was answered, looked at in parts that lie within a day."""
    until = {day.timestamp() // _DAY_SECONDS: end.timestamp() for day, end in answered.items()}
    part = min(seconds, _DAY_SECONDS)
    starts = candles["time"].cast(pa.int64()).to_numpy() // 1_000_000
    parts = starts[:, None] + np.arange(0, seconds, part)
    through = np.vectorize(lambda day: until.get(day, 0), otypes=[float])(parts // _DAY_SECONDS)
    return (through >= parts + part).all(axis=1)


def _span(granularity: BucketLength, month: str) -> tuple[datetime, datetime]:
    """From the start of the first bucket that begins in the month to the end of the last one."""
    start, end = (
        instant
        + (granularity.delta - _since_bucket_start(granularity, instant)) % granularity.delta
        for instant in month_range(month)
    )
    return start, end


def _since_bucket_start(granularity: BucketLength, instant: datetime) -> timedelta:
    return (instant - datetime.fromtimestamp(MONDAY, UTC)) % granularity.delta


def _month_at(instant: datetime) -> str:
    return month_of(f"{instant:%F}")
