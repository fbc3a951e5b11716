"""From the rows of the exchange's answer to a candle table. Pure: no I/O."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from coinbase_assets.candles.rules import describe_candle, validate_candles
from coinbase_assets.candles.series import Granularity
from coinbase_assets.candles.table import (
    COLUMNS,
    TIME_TYPE,
    InvalidCandles,
    clip_candles,
    conform,
    epoch_seconds,
)
from coinbase_assets.plain_text import quoted, shown

# The exchange's own order, which is not open, high, low, close (its documentation).
_ANSWER_COLUMNS = ("time", "low", "high", "open", "close", "volume")

# A few rows may all lie on a coarser grid by chance. If the odds against that are longer than
# this number, the candles have another granularity.
_MORE_THAN_CHANCE = 10**12

# The end of the year 9999 in epoch seconds, and the largest number up to which a float64 holds
# every whole number.
_LAST_TIME = 253_402_300_799
_LARGEST_INTEGER = 2**53


def parse_candles(
    rows: list[object], granularity: Granularity, start: datetime, end: datetime
) -> pa.Table:
    """Turn an answer's rows into candles with unique, ascending times.

    Rows before `start`, which the exchange may send (see its docs), are dropped.
    Raises InvalidCandles for everything else that breaks a rule.
    """
    table = clip_candles(_table(rows), start, datetime.max.replace(tzinfo=UTC)).sort_by("time")
    if table.num_rows > 1:
        table = _without_repetitions(table)
    validate_candles(table, granularity, start, end)
    _refuse_coarser_grid(table, granularity)
    return table


def _table(rows: list[object]) -> pa.Table:
    for row in rows:
        if broken := _broken_shape(row):
            raise InvalidCandles(f"row {shown(repr(row), 200)}: {broken}")
    answered = dict(zip(_ANSWER_COLUMNS, zip(*rows, strict=True), strict=True)) if rows else {}
    time = pa.array(answered.get("time", ()), pa.timestamp("s", "UTC"))
    values = {
        column.name: pa.array(answered.get(column.name, ()), column.type)
        for column in COLUMNS
        if column.name in _ANSWER_COLUMNS
    }
    return conform(pa.table({"time": time.cast(TIME_TYPE), **values}))


def _broken_shape(row: object) -> str:
    """Return the rule that the shape of the row breaks, "" if it breaks none."""
    if not isinstance(row, list) or len(row) != len(_ANSWER_COLUMNS):
        return f"not {len(_ANSWER_COLUMNS)} values"
    for value in row:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"{quoted(value)} is not a number"
        if isinstance(value, int) and abs(value) > _LARGEST_INTEGER:
            return "a whole number is too large"
    if not isinstance(row[0], int) or not 0 <= row[0] <= _LAST_TIME:
        return "time is not a whole number of seconds since 1970"
    return ""


def _without_repetitions(table: pa.Table) -> pa.Table:
    """Drop exact repeats of a row; validation refuses rows that share only a time."""
    columns = [column.to_numpy() for column in table.select(_ANSWER_COLUMNS).columns]
    same = np.logical_and.reduce([column[1:] == column[:-1] for column in columns])
    return table.filter(pa.array(np.append(True, ~same)))


def _refuse_coarser_grid(table: pa.Table, granularity: Granularity) -> None:
    time = epoch_seconds(table["time"])
    for coarser in Granularity:
        times = coarser.seconds // granularity.seconds
        if times < 2 or (time % coarser.seconds).any():
            continue
        if times ** len(time) > _MORE_THAN_CHANCE:
            raise InvalidCandles(
                f"all {len(time)} rows from {describe_candle(table, 0)} lie on the {coarser} grid:"
                f" candles of another granularity than {granularity}"
            )
