"""The result of a query as text: a table for people, JSON lines and CSV for programs.

DuckDB turns values of any type into JSON. The few that Arrow and Python also have are taken
from Arrow, which is faster.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import duckdb
from duckdb.sqltypes import DuckDBPyType

from coinbase_assets.lake.portable_json import from_json, portable
from coinbase_assets.plain_text import shown, shown_lines

_INTEGERS = {f"{sign}{size}INT" for sign in ("", "U") for size in ("TINY", "SMALL", "BIG")}
_OF_ARROW = {"BOOLEAN", "INTEGER", "UINTEGER", "FLOAT", "DOUBLE", "VARCHAR", *_INTEGERS}
_EXPLANATION = ["explain_key", "explain_value"]

Relation = duckdb.DuckDBPyRelation
Column = Sequence[Any]
Convert = Callable[[Any], Any]


def as_table(result: Relation) -> str:
    """Return DuckDB's own picture of the result. It shows long results in part."""
    if result.columns == _EXPLANATION:
        return "".join(f"{shown_lines(text)}\n" for _, text in result.fetchall())
    return shown_lines(str(result))


def as_json(result: Relation) -> str:
    """Return an object per line."""
    names = _names(result)
    rows = (
        dict(zip(names, row, strict=True))
        for columns in _batches(result)
        for row in zip(*map(portable, columns), strict=True)
    )
    return "".join(f"{json.dumps(row, allow_nan=False)}\n" for row in rows)


def as_csv(result: Relation, as_text: Callable[[str], str] = str) -> str:
    """Return comma-separated values. Text is in quotation marks; null is empty, without them.

    `as_text` changes each text; by default, it stays as it is.
    """

    def cells(values: Iterable[Any]) -> list[str]:
        return [_cell(as_text(value) if isinstance(value, str) else value) for value in values]

    rows = (row for columns in _batches(result) for row in zip(*map(cells, columns), strict=True))
    return "".join(f"{','.join(row)}\n" for row in (cells(_names(result)), *rows))


def as_shown_csv(result: Relation) -> str:
    """Return the values as `as_csv` does, but for people: one line a row, without control codes."""
    return as_csv(result, lambda text: shown(text, None))


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return '"' + value.replace('"', '""') + '"'
    if isinstance(value, list | dict):
        return _cell(json.dumps(value))
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else repr(value)


def _names(result: Relation) -> Sequence[str]:
    """Return the names of the columns. A repeated name gets the suffix that DuckDB gives it."""
    return result.project("*").columns


def _batches(result: Relation) -> Iterator[Sequence[Column]]:
    """Yield the columns of some rows at a time, each a list of values that JSON and CSV have."""
    readers = [None if str(kind) in _OF_ARROW else _reader(kind) for kind in result.types]
    columns = [
        f"#{number}" if reader is None else f"to_json(#{number})::VARCHAR"
        for number, reader in enumerate(readers, 1)
    ]
    for batch in result.project(", ".join(columns)).to_arrow_table().to_batches():
        columns = [column.to_pylist() for column in batch.columns]
        yield [
            column if reader is None else [reader(value) for value in column]
            for reader, column in zip(readers, columns, strict=True)
        ]


def _reader(kind: DuckDBPyType) -> Convert:
    """Return what reads a value of this type from JSON."""
    convert = _nullable(_times_converter(kind))
    return _nullable(lambda text: convert(from_json(text)))


def _times_converter(kind: DuckDBPyType) -> Convert:
    """Return what changes the times in a value of this type to ISO 8601."""
    if kind.id.startswith("timestamp"):
        return _iso_time
    if kind.id not in ("list", "array", "tuple", "map", "struct", "union"):
        return lambda value: value
    parts = {
        name or str(number): _nullable(_times_converter(part))
        for number, (name, part) in enumerate(kind.children)
        if isinstance(part, DuckDBPyType)
    }
    if kind.id in ("list", "array"):
        return lambda values: [parts["child"](value) for value in values]
    if kind.id in ("tuple", "struct") and any(not name for name, _ in kind.children):
        return lambda values: [
            part(value) for part, value in zip(parts.values(), _in_order(values), strict=True)
        ]
    if kind.id == "map":
        return lambda value: {parts["key"](k): parts["value"](v) for k, v in value.items()}
    return lambda value: {name: parts[name](part) for name, part in value.items()}


def _in_order(values: list[Any] | dict[str, Any]) -> list[Any]:
    """Return the values of a tuple, which earlier versions of DuckDB write as an object."""
    return values if isinstance(values, list) else list(values.values())


def _nullable(convert: Convert) -> Convert:
    return lambda value: None if value is None else convert(value)


def _iso_time(text: str) -> str:
    """Return DuckDB's text of a time in ISO 8601. Infinity and years BC stay as they are."""
    day, _, time = text.partition(" ")
    return f"{day}T{time.replace('+00', 'Z')}" if ":" in time and "(" not in time else text


STYLES: Mapping[str, Callable[[Relation], str]] = {
    "table": as_table,
    "json": as_json,
    "csv": as_csv,
    "csv of shown text": as_shown_csv,
}
