"""The candle table: schema, parsing, rules, merging. Pure: no Dagster, no I/O.

Times are bucket starts in UTC; ranges are half-open, `start <= time < end`.
"""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coinbase_assets.candles.series import Granularity

COLUMN_DESCRIPTIONS = {
    "time": "Start of the bucket, UTC",
    "open": "First price traded in the bucket, in the quote currency",
    "high": "Highest price traded in the bucket, in the quote currency",
    "low": "Lowest price traded in the bucket, in the quote currency",
    "close": "Last price traded in the bucket, in the quote currency",
    "volume": "Amount traded in the bucket, in the base currency",
}
SCHEMA = pa.schema(
    [pa.field("time", pa.timestamp("us", "UTC"), nullable=False)]
    + [pa.field(name, pa.float64(), nullable=False) for name in list(COLUMN_DESCRIPTIONS)[1:]]
)

# The exchange's own order, which is not open, high, low, close (its documentation).
_ANSWER_COLUMNS = ("time", "low", "high", "open", "close", "volume")

# Rows that all lie on a coarser grid may do so by chance, but not by one of so many.
_MORE_THAN_CHANCE = 10**12

# The year 9999, and what a float64 holds exactly.
_LAST_TIME = 253_402_300_799
_LARGEST_INTEGER = 2**53


class InvalidCandles(ValueError):
    """Candles break a rule; the message names the row and the rule."""


def empty_candles() -> pa.Table:
    return SCHEMA.empty_table()


def parse_candles(
    rows: list[object], granularity: Granularity, start: datetime, end: datetime
) -> pa.Table:
    """Turn the rows of an answer into candles, ascending, each time once.

    Rows before `start` are clipped: the exchange may send them (its documentation).
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
            raise InvalidCandles(f"row {repr(row)[:200]}: {broken}")
    columns = dict(zip(_ANSWER_COLUMNS, zip(*rows, strict=True), strict=True)) if rows else {}
    time = pa.array(columns.pop("time", ()), pa.timestamp("s", "UTC"))
    values = [pa.array(columns.get(name, ()), pa.float64()) for name in SCHEMA.names[1:]]
    return pa.table([time, *values], SCHEMA.names).cast(SCHEMA)


def _broken_shape(row: object) -> str:
    """The rule that the row's shape breaks, if any."""
    if not isinstance(row, list) or len(row) != len(_ANSWER_COLUMNS):
        return f"not {len(_ANSWER_COLUMNS)} values"
    for value in row:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"{value!r} is not a number"
        if isinstance(value, int) and abs(value) > _LARGEST_INTEGER:
            return "a whole number is too large"
    if not isinstance(row[0], int) or not 0 <= row[0] <= _LAST_TIME:
        return "time is not a whole number of seconds since 1970"
    return ""


def _without_repetitions(table: pa.Table) -> pa.Table:
    """Drop rows that repeat a neighbour; two that differ stay, for the validation to refuse."""
    same = np.logical_and.reduce(
        [column[1:] == column[:-1] for column in (c.to_numpy() for c in table.columns)]
    )
    return table.filter(pa.array(np.append(True, ~same)))


def _refuse_coarser_grid(table: pa.Table, granularity: Granularity) -> None:
    time = _epoch_seconds(table)
    for coarser in Granularity:
        times = coarser.seconds // granularity.seconds
        if times < 2 or (time % coarser.seconds).any():
            continue
        if times ** len(time) > _MORE_THAN_CHANCE:
            raise InvalidCandles(
                f"all {len(time)} rows from {_describe(table, 0)} lie on the {coarser} grid:"
                f" candles of another granularity than {granularity}"
            )


def validate_candles(
    table: pa.Table, granularity: Granularity, start: datetime, end: datetime
) -> None:
    """Raise InvalidCandles at the first row that breaks a rule, or for another schema."""
    if not table.schema.equals(SCHEMA):
        raise InvalidCandles(f"columns {table.schema.to_string()!r} are not the candle schema")
    for rule, broken in _broken_rules(table, granularity, start, end):
        if broken.any():
            raise InvalidCandles(f"row {_describe(table, int(broken.argmax()))}: {rule}")


def _broken_rules(
    table: pa.Table, granularity: Granularity, start: datetime, end: datetime
) -> Iterator[tuple[str, np.ndarray]]:
    time = _epoch_seconds(table)
    open_, high, low, close, volume = (table[name].to_numpy() for name in SCHEMA.names[1:])
    values = np.stack([open_, high, low, close, volume])
    yield "every value is finite", np.logical_not(np.isfinite(values)).max(axis=0)
    yield "no value is negative", values.min(axis=0) < 0
    yield "low never exceeds high", low > high
    yield "open lies between low and high", (open_ < low) | (open_ > high)
    yield "close lies between low and high", (close < low) | (close > high)
    yield f"time lies on the {granularity} grid", time % granularity.seconds != 0
    yield f"time is not before {start:%FT%TZ}", time < start.timestamp()
    yield f"time is before {end:%FT%TZ}", time >= end.timestamp()
    yield "time is unique and ascending", np.diff(time, prepend=-np.inf) <= 0


def _epoch_seconds(table: pa.Table) -> np.ndarray:
    """Bucket starts in epoch seconds; exact, because validation also refuses fractions."""
    return table["time"].cast(pa.int64()).to_numpy() / 1_000_000


def _describe(table: pa.Table, index: int) -> str:
    row = table.slice(index, 1).to_pylist()[0]
    return f"{row.pop('time'):%FT%TZ} {row}"


def clip_candles(table: pa.Table, start: datetime, end: datetime) -> pa.Table:
    """The candles with `start <= time < end`."""
    inside = pc.and_(
        pc.greater_equal(table["time"], pa.scalar(start, SCHEMA.field("time").type)),
        pc.less(table["time"], pa.scalar(end, SCHEMA.field("time").type)),
    )
    return table.filter(inside)


def closed_candles(table: pa.Table, granularity: Granularity, as_of: datetime) -> pa.Table:
    """The candles whose bucket had ended at `as_of`, the exchange's time."""
    beginning = datetime.min.replace(tzinfo=UTC)
    return clip_candles(table, beginning, as_of - granularity.delta + timedelta(microseconds=1))


def candles_digest(table: pa.Table) -> str:
    """The same for two tables just if all their times and values are."""
    digest = hashlib.blake2b(digest_size=16)
    for column in table.columns:
        values = column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
        digest.update(np.ascontiguousarray(values.to_numpy()).tobytes())
    return digest.hexdigest()


def without_candles(table: pa.Table, dropped: pa.Table) -> pa.Table:
    """The candles whose time is not that of one of the `dropped`."""
    return table.filter(pc.invert(pc.is_in(table["time"], dropped["time"].combine_chunks())))


def merge_candles(*tables: pa.Table) -> pa.Table:
    """One table, ascending, each time once; for a time in several tables the last one wins."""
    merged = pa.concat_tables([table.replace_schema_metadata(None) for table in tables])
    times = merged["time"].cast(pa.int64()).to_numpy()
    order = np.argsort(times, kind="stable")
    last_of_its_time = np.diff(times[order], append=np.iinfo(np.int64).max) != 0
    return merged.take(pa.array(order[last_of_its_time]))
