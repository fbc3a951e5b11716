"""Which columns of a foreign table hold the time, the prices and the volume of candles."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coinbase_assets.candles.rules import price_rules
from coinbase_assets.foreign_files.errors import CandleFileError
from coinbase_assets.foreign_files.foreign_table import PLAIN_ORDER, ForeignTable, Order
from coinbase_assets.plain_text import quoted

_NAMES: Mapping[str, Sequence[str]] = {
    "time": (
        "time",
        "timestamp",
        "date",
        "datetime",
        "opentime",
        "start",
        "starttime",
        "unix",
        "unixtime",
        "unixtimestamp",
    ),
    "open": ("open", "o"),
    "high": ("high", "h"),
    "low": ("low", "l"),
    "close": ("close", "c"),
    "volume": ("volume", "vol", "v"),
}
# How pandas calls an index without a name, in Parquet and Feather, and in CSV.
_UNNAMED_INDEX = ("__index_level_0__", "")
_SKIPPED = "-"
_REMEDY = f"name all columns by position, for example --columns {','.join(PLAIN_ORDER)}"

Columns = Mapping[str, pa.ChunkedArray]


def parse_order(text: str) -> Order:
    """Read `time,low,high,open,close,volume`, in any order, with `-` for columns to skip.

    Raises ValueError with the rule.
    """
    order = [name.strip().lower() for name in text.split(",")]
    if sorted(name for name in order if name != _SKIPPED) != sorted(PLAIN_ORDER):
        raise ValueError(
            f"{quoted(text)} must have each of {','.join(PLAIN_ORDER)} once,"
            f" and {_SKIPPED} for each other column of the file"
        )
    return order


def candle_columns(table: ForeignTable, order: Order | None = None) -> Columns:
    """Return the columns by what they hold: `time`, `open`, `high`, `low`, `close`, `volume`.

    `order` says what they hold; without it, their names do, or else the prices: columns without
    names are in the first of the table's orders that has every low at or below open and close, and
    every high at or above. Rows in which several orders do hold the same candles in all of them.
    Raises CandleFileError.
    """
    if order:
        return _ordered(table, order)
    return _by_name(table) if table.names else _by_prices(table)


def _ordered(table: ForeignTable, order: Order) -> Columns:
    if len(order) != len(table.columns):
        raise CandleFileError(
            f"has {len(table.columns)} columns, not the {len(order)} of {','.join(order)};"
            f" name each with --columns, and write {_SKIPPED} for those to skip"
        )
    pairs = zip(order, table.columns, strict=True)
    return {name: column for name, column in pairs if name != _SKIPPED}


def _by_name(table: ForeignTable) -> Columns:
    plain = [re.sub(r"[\W_]", "", name.lower()) for name in table.names]
    found = {}
    for name, synonyms in _NAMES.items():
        positions = [number for number, each in enumerate(plain) if each in synonyms]
        if not positions and name == "time":
            positions = [n for n, each in enumerate(table.names) if each in _UNNAMED_INDEX]
        if len(positions) != 1:
            what = "no column is" if not positions else f"{len(positions)} columns may be"
            names = quoted(", ".join(table.names), 200)
            raise CandleFileError(f"{what} the {name}, among {names}; {_REMEDY}")
        found[name] = table.columns[positions[0]]
    return found


def _by_prices(table: ForeignTable) -> Columns:
    broken = []
    for order in table.orders:
        columns = _ordered(table, order)
        numbers = {name: read_numbers(columns[name], name) for name in PLAIN_ORDER[1:]}
        if not (reason := _broken_rule(numbers)):
            return {"time": columns["time"], **numbers}
        broken.append(f"the columns are not {','.join(order)}: {reason}")
    raise CandleFileError(f"{'; '.join(broken)}; correct the rows, or {_REMEDY}")


def _broken_rule(numbers: Columns) -> str:
    """Return the first rule about prices that a row breaks, and the row; "" if there is none."""
    for rule, broken in price_rules(pa.table(dict(numbers))):
        if broken.any():
            index = int(broken.argmax())
            return f"row {index + 1} breaks the rule: {rule}"
    return ""


def read_numbers(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """Return the column `name` as float64: finite, without nulls.

    Raises CandleFileError that names the first row without a number.
    """
    refuse_nulls(column, name)
    column = plain_texts(column)
    if not (is_text(column) or is_number(column)):
        raise CandleFileError(f"column {name} is of the type {column.type}; give it as numbers")
    try:
        numbers = column.cast(pa.float64(), safe=False)
    except pa.ArrowException:
        row = _first_row_that_fails(column, pa.float64())
        raise _not_a_number(column, name, row) from None
    if not (is_finite := np.isfinite(numbers.to_numpy())).all():
        raise _not_a_number(column, name, int(is_finite.argmin()))
    return numbers


def _not_a_number(column: pa.ChunkedArray, name: str, index: int) -> CandleFileError:
    value = quoted(column[index].as_py())
    return CandleFileError(
        f"row {index + 1}: {name} {value} is not a finite number; correct or remove the row"
    )


def _first_row_that_fails(column: pa.ChunkedArray, type_: pa.DataType) -> int:
    """Return the index of the first value that has no equal in the type."""
    done, failing = 0, len(column)
    while failing - done > 1:
        middle = (done + failing) // 2
        try:
            column.slice(done, middle - done).cast(type_, safe=False)
            done = middle
        except pa.ArrowException:
            failing = middle
    return done


def refuse_nulls(column: pa.ChunkedArray, name: str) -> None:
    """Raise CandleFileError at the first null."""
    if column.null_count:
        row = int(column.is_null().to_numpy().argmax()) + 1
        raise CandleFileError(f"row {row}: the {name} is missing; correct or remove the row")


def plain_texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return texts without white space around them, also of categories and of decimals.

    Arrow itself makes floats of decimals that are not the nearest ones. Other types stay.
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.string())
    return pc.utf8_trim_whitespace(column.cast(pa.string())) if is_text(column) else column


def is_text(column: pa.ChunkedArray) -> bool:
    """Return whether the column holds texts."""
    of = pa.types
    return any(is_(column.type) for is_ in (of.is_string, of.is_large_string, of.is_string_view))


def is_number(column: pa.ChunkedArray) -> bool:
    """Return whether the column holds integers or floats."""
    return pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
