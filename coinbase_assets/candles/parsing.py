"""From the rows of the exchange's answer to a candle table. Pure: no I/O."""

from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from coinbase_assets.candles.rules import describe_candle, validate_candles
from coinbase_assets.candles.series import Granularity
from coinbase_assets.candles.table import TIME_TYPE, InvalidCandles, conform, epoch_seconds
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
    table = _table(_distinct(_values(rows), start))
    validate_candles(table, granularity, start, end)
    _refuse_coarser_grid(table, granularity)
    return table


def _values(rows: list[object]) -> np.ndarray:
    """Return the rows as an array of numbers. Raises InvalidCandles."""
    if not _is_regular(rows):
        for row in rows:
            if broken := _broken_shape(row):
                raise InvalidCandles(f"row {shown(repr(row), 200)}: {broken}")
    return np.array(rows, np.float64).reshape(-1, len(_ANSWER_COLUMNS))


def _is_regular(rows: list[Any]) -> bool:
    """Whether no row can have a broken shape. Looking at each row takes five times as long."""
    if {*map(type, rows)} != {list} or {*map(len, rows)} != {len(_ANSWER_COLUMNS)}:
        return False
    times = [row[0] for row in rows]
    if {*map(type, times)} != {int} or min(times) < 0 or max(times) > _LAST_TIME:
        return False
    others = [value for row in rows for value in row if type(value) is not float]
    return {*map(type, others)} == {int} and max(map(abs, others)) <= _LARGEST_INTEGER


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


def _distinct(values: np.ndarray, start: datetime) -> np.ndarray:
    """Return the rows from `start` on, in ascending order, without exact repeats of a row.

    Validation refuses rows that share only a time.
    """
    values = values[values[:, 0] >= start.timestamp()]
    values = values[np.argsort(values[:, 0], kind="stable")]
    is_repeated = (values[1:] == values[:-1]).all(axis=1)
    return values[np.append(True, ~is_repeated)] if is_repeated.any() else values


def _table(values: np.ndarray) -> pa.Table:
    columns = dict(zip(_ANSWER_COLUMNS, np.ascontiguousarray(values.T), strict=True))
    time = pa.array(columns.pop("time").astype(np.int64) * 1_000_000, TIME_TYPE)
    return conform(pa.table({"time": time, **columns}))


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
