"""Rollups: longer candles, made of a series' own candles a month at a time. Pure: no I/O.

A longer candle belongs to the month in which it begins; it may end in the next month.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coinbase_assets.candles.calendar import (
    DAY,
    day_start,
    format_time,
    month_range,
    months_between,
)
from coinbase_assets.candles.days import first_and_last
from coinbase_assets.candles.months import MADE_OF, months_digest, raw_days, with_raw_days
from coinbase_assets.candles.series import BucketLength, Rollup
from coinbase_assets.candles.table import (
    COLUMNS,
    SCHEMA,
    TIME_TYPE,
    Column,
    InvalidCandles,
    clip_candles,
    conform,
    empty_candles,
    epoch_seconds,
)
from coinbase_assets.table_metadata import table_fields, with_fields

# Buckets are counted from Monday 1970-01-05, in epoch seconds, so that weeks begin on Mondays.
MONDAY: Final = 4 * 86_400
_DAY_SECONDS = int(DAY.total_seconds())


def coarsen_candles(candles: pa.Table, seconds: int) -> pa.Table:
    """Return candles of `seconds` length, made of these shorter ones, both ascending.

    Buckets are counted from Monday 1970-01-05, UTC. A bucket without candles is left out.
    The columns are folded as COLUMNS says.
    """
    if not candles.num_rows:
        return candles
    bucket = (epoch_seconds(candles["time"]) - MONDAY) // seconds * seconds + MONDAY
    starts = np.flatnonzero(np.diff(bucket, prepend=bucket[0] - 1))
    time = pa.array(bucket[starts] * 1_000_000).cast(TIME_TYPE)
    return pa.table([time, *(_folded(column, candles, starts) for column in COLUMNS)], SCHEMA)


def _folded(column: Column, candles: pa.Table, starts: np.ndarray) -> pa.Array:
    """Return the values of the longer candles, null where a shorter candle has no value."""
    values = candles[column.name]
    if not values.null_count:
        return pa.array(column.fold(values.to_numpy(), starts), column.type)
    is_null = np.logical_or.reduceat(values.is_null().to_numpy(), starts)
    known = pc.fill_null(values, 0).to_numpy()
    return pa.array(column.fold(known, starts), column.type, mask=is_null)


def source_months(granularity: BucketLength, month: str) -> Sequence[str]:
    """Return the months of history that a month of the rollup is made of, ascending."""
    first, _ = month_range(month)
    _, end = _buckets_of(granularity, month)
    return months_between(first, end)


def touched_months(granularity: BucketLength, month: str) -> Sequence[str]:
    """Return the months of a rollup that a month of history goes into, ascending."""
    first, end = month_range(month)
    return months_between(first - _since_bucket_start(granularity, first), end)


def roll_up(rollup: Rollup, month: str, history: Sequence[pa.Table]) -> pa.Table:
    """Return the longer candles that begin in the month.

    `history` are the stored months among its `source_months`. A candle is left out, and counted,
    if a day of it is not collected, or was not answered up to the end of the candle. The version
    is the sum of the versions of the history, so it grows with them.
    Raises InvalidCandles for history of version 0.1.
    """
    shorter = clip_candles(
        pa.concat_tables([empty_candles(), *map(conform, history)]),
        *_buckets_of(rollup.granularity, month),
    )
    longer = coarsen_candles(shorter, rollup.granularity.seconds)
    answered = {
        day_start(day): datetime.fromisoformat(fields["answered_through"])
        for table in history
        for day, fields in raw_days(table).items()
    }
    complete = is_answered(epoch_seconds(longer["time"]), rollup.granularity.seconds, answered)
    candles = longer.filter(pa.array(complete))
    days = {
        f"{day:%F}": {"answered_through": format_time(through)}
        for day, through in answered.items()
        if f"{day:%Y-%m}" == month
    }
    fields = {
        "series": str(rollup),
        "source": str(rollup.made_of),
        "version": str(
            sum(int(table_fields(table, InvalidCandles)["version"]) for table in history)
        ),
        MADE_OF: months_digest(
            [table_fields(table, InvalidCandles).get(MADE_OF) for table in history]
        ),
        "candles_left_out": str(longer.num_rows - candles.num_rows),
        **first_and_last(candles),
    }
    return with_fields(with_raw_days(candles, days), fields)


def is_answered(
    starts: np.ndarray, seconds: int, answered: Mapping[datetime, datetime]
) -> np.ndarray:
    """Return whether the exchange answered for each bucket to its end; of a long one, each day.

    `starts` are epoch seconds; `answered` says until when each day, by its start, is answered.
    """
    until = {day.timestamp() // _DAY_SECONDS: end.timestamp() for day, end in answered.items()}
    part = min(seconds, _DAY_SECONDS)
    parts = starts[:, None] + np.arange(0, seconds, part)
    through = np.vectorize(lambda day: until.get(day, 0), otypes=[float])(parts // _DAY_SECONDS)
    return (through >= parts + part).all(axis=1)


def _buckets_of(granularity: BucketLength, month: str) -> tuple[datetime, datetime]:
    """Return the start of the first bucket that begins in the month, and the end of the last."""
    start, end = (
        instant
        + (granularity.delta - _since_bucket_start(granularity, instant)) % granularity.delta
        for instant in month_range(month)
    )
    return start, end


def _since_bucket_start(granularity: BucketLength, instant: datetime) -> timedelta:
    return (instant - datetime.fromtimestamp(MONDAY, UTC)) % granularity.delta
