"""The candle table: its columns, and how tables are cut, merged and compared. Pure: no I/O.

Times are bucket starts in UTC; ranges are half-open, `start <= time < end`.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coinbase_assets.candles.series import Granularity

TIME_TYPE = pa.timestamp("us", "UTC")

# (values of candles, index of the first candle in each longer bucket) -> a value for each bucket
Fold = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _first(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    return values[starts]


def _last(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    return values[np.append(starts[1:], len(values)) - 1]


@dataclass(frozen=True)
class Column:
    """A column of numbers: its Arrow type, what it means, and its value in a longer bucket.

    Required columns hold no nulls. Optional columns hold nulls where the value is not known:
    in candles stored before the column existed, and in longer candles made of such candles.
    """

    name: str
    type: pa.DataType
    description: str
    fold: Fold
    required: bool = True


COLUMNS = (
    Column(
        "open",
        pa.float64(),
        "First price traded in the bucket, in the quote currency",
        _first,
    ),
    Column(
        "high",
        pa.float64(),
        "Highest price traded in the bucket, in the quote currency",
        np.maximum.reduceat,
    ),
    Column(
        "low",
        pa.float64(),
        "Lowest price traded in the bucket, in the quote currency",
        np.minimum.reduceat,
    ),
    Column(
        "close",
        pa.float64(),
        "Last price traded in the bucket, in the quote currency",
        _last,
    ),
    Column(
        "volume",
        pa.float64(),
        "Amount traded in the bucket, in the base currency",
        np.add.reduceat,
    ),
)
"""The columns of values, in order. An optional column is added at the end."""

COLUMN_DESCRIPTIONS = {
    "time": "Start of the bucket, UTC",
    **{column.name: column.description for column in COLUMNS},
}
SCHEMA = pa.schema(
    [pa.field("time", TIME_TYPE, nullable=False)]
    + [pa.field(column.name, column.type, not column.required) for column in COLUMNS]
)


class InvalidCandles(ValueError):
    """Candles break a rule; the message names the row and the rule."""


def empty_candles() -> pa.Table:
    return SCHEMA.empty_table()


def conform(table: pa.Table, names: Sequence[str] = SCHEMA.names) -> pa.Table:
    """Return a stored table as this version reads it, with the columns `names` in this order.

    Every stored candle table passes here before use. Optional columns that the table lacks
    are null, and its schema metadata is dropped. Raises InvalidCandles if the table lacks a
    required column, has a column of another type, or has an unknown column.
    """
    schema = pa.schema([SCHEMA.field(name) for name in names])
    given = {field.name: field.type for field in table.schema}
    lacking = [field for field in schema if field.name not in given]
    expected = {field.name: field.type for field in schema if field not in lacking}
    if given != expected or not all(field.nullable for field in lacking):
        raise InvalidCandles(
            f"the stored columns {', '.join(f'{name} {type_}' for name, type_ in given.items())}"
            f" are not the candle columns {', '.join(names)}; materialise the partition again"
        )
    columns = [
        pa.nulls(table.num_rows, field.type) if field in lacking else table[field.name]
        for field in schema
    ]
    return pa.table(columns, schema)


def epoch_microseconds(times: pa.ChunkedArray) -> np.ndarray:
    """Return a column of times as whole microseconds since 1970."""
    return times.cast(pa.int64()).to_numpy()


def epoch_seconds(times: pa.ChunkedArray) -> np.ndarray:
    """Return a column of times as whole seconds since 1970, rounded down."""
    return epoch_microseconds(times) // 1_000_000


def clip_candles(table: pa.Table, start: datetime, end: datetime) -> pa.Table:
    """Return the candles with `start <= time < end`; the table itself if these are all."""
    times, lower, upper = table["time"], pa.scalar(start, TIME_TYPE), pa.scalar(end, TIME_TYPE)
    ends = pc.min_max(times)
    if table.num_rows and lower.value <= ends["min"].value and ends["max"].value < upper.value:
        return table
    return table.filter(pc.and_(pc.greater_equal(times, lower), pc.less(times, upper)))


def closed_candles(table: pa.Table, granularity: Granularity, as_of: datetime) -> pa.Table:
    """Return the candles whose bucket had ended at `as_of`, the exchange's time."""
    beginning = datetime.min.replace(tzinfo=UTC)
    return clip_candles(table, beginning, as_of - granularity.delta + timedelta(microseconds=1))


def candles_digest(table: pa.Table) -> str:
    """Return a hash of all times and values: 32 hexadecimal digits.

    An optional column counts, with its name, only if it holds values. So candles stored before
    the column existed keep their digest.
    """
    digest = hashlib.blake2b(epoch_microseconds(table["time"]).tobytes(), digest_size=16)
    for column in COLUMNS:
        if column.required:
            digest.update(np.ascontiguousarray(table[column.name].to_numpy()).tobytes())
        elif column.name in table.column_names:
            digest.update(_optional_bytes(column.name, table[column.name]))
    return digest.hexdigest()


def _optional_bytes(name: str, values: pa.ChunkedArray) -> bytes:
    """Return what the digest covers of an optional column; nothing if all its values are null."""
    if values.null_count == len(values):
        return b""
    known = values.is_valid().to_numpy().tobytes()
    return name.encode() + known + pc.fill_null(values, 0).to_numpy().tobytes()


def without_candles(table: pa.Table, dropped: pa.Table) -> pa.Table:
    """Return the candles at whose time there is no `dropped` candle."""
    return table.filter(pc.invert(pc.is_in(table["time"], dropped["time"].combine_chunks())))


def merge_candles(*tables: pa.Table) -> pa.Table:
    """Return the candles of all tables, with unique, ascending times.

    If several tables have a candle for a time, the last of them wins. The tables have the columns
    of SCHEMA; their schema metadata is dropped.
    """
    merged = pa.concat_tables([table.replace_schema_metadata(None) for table in tables])
    times = epoch_microseconds(merged["time"])
    order = np.argsort(times, kind="stable")
    last_of_its_time = np.diff(times[order], append=np.iinfo(np.int64).max) != 0
    return merged.take(pa.array(order[last_of_its_time]))
