"""The rules that candles must follow. Pure: no I/O."""

from collections.abc import Iterator
from datetime import datetime
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coinbase_assets.candles.series import Granularity
from coinbase_assets.candles.table import (
    COLUMNS,
    SCHEMA,
    TIME_TYPE,
    Column,
    InvalidCandles,
    epoch_microseconds,
)

# A rule, and of each candle whether it breaks the rule.
Rule = tuple[str, np.ndarray]


def validate_candles(
    table: pa.Table, granularity: Granularity, start: datetime, end: datetime
) -> None:
    """Raise InvalidCandles at the first candle that breaks a rule, or for another schema."""
    if not table.schema.equals(SCHEMA):
        raise InvalidCandles(f"columns {table.schema.to_string()!r} are not the candle schema")
    time_rules = _time_rules(table, granularity, start, end)
    for rule, broken in chain(_value_rules(table), price_rules(table), time_rules):
        if broken.any():
            row = describe_candle(table, int(broken.argmax()))
            raise InvalidCandles(f"row {row} breaks the rule: {rule}")


def _value_rules(table: pa.Table) -> Iterator[Rule]:
    """Yield the rules for each value by itself; nulls in optional columns break none."""
    values = np.stack([_values(table, column) for column in COLUMNS])
    yield "every value is finite", np.logical_not(np.isfinite(values)).max(axis=0)
    yield "no value is negative", values.min(axis=0) < 0


def _values(table: pa.Table, column: Column) -> np.ndarray:
    values = table[column.name]
    return (values if column.required else pc.fill_null(values, 0)).to_numpy()


def price_rules(table: pa.Table) -> Iterator[Rule]:
    """Yield the rules about the prices of a candle; a price that is not a number breaks them."""
    low, high = table["low"].to_numpy(), table["high"].to_numpy()
    yield "low never exceeds high", ~(low <= high)
    for name in ("open", "close"):
        price = table[name].to_numpy()
        yield f"{name} lies between low and high", ~((low <= price) & (price <= high))


def _time_rules(
    table: pa.Table, granularity: Granularity, start: datetime, end: datetime
) -> Iterator[Rule]:
    time = epoch_microseconds(table["time"])
    step = granularity.seconds * 1_000_000
    yield f"time lies on the {granularity} grid", time % step != 0
    yield f"time is not before {start:%FT%TZ}", time < pa.scalar(start, TIME_TYPE).value
    yield f"time is before {end:%FT%TZ}", time >= pa.scalar(end, TIME_TYPE).value
    yield "time is unique and ascending", np.diff(time, prepend=time[:1] - 1) <= 0


def describe_candle(table: pa.Table, index: int) -> str:
    """Return a candle's time and values, for messages."""
    row = table.slice(index, 1).to_pylist()[0]
    return f"{row.pop('time'):%FT%TZ} {row}"
