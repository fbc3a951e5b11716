"""pandas DataFrames as Arrow tables, and back, with their indices.

A named index is stored as columns, an unnamed one as `__index_level_0__`, and both are restored. An
unnamed RangeIndex takes no column. Refusing other unnamed indices would make an output depend on
its data: filtering leaves such an index only when a row was dropped.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from coinbase_assets.storage.errors import StorageError

if TYPE_CHECKING:
    import pandas as pd

_UNNAMED = re.compile(r"__index_level_\d+__")
_KEY = b"pandas"


def table_of_frame(frame: "pd.DataFrame", asset: str) -> pa.Table:
    """Return the frame as a table. Raises StorageError, which names the asset, if it cannot be."""
    import pandas as pd

    _check_labels(frame, asset)
    if isinstance(frame.columns, pd.CategoricalIndex):
        frame = frame.set_axis(frame.columns.astype(str), axis="columns")
    # A RangeIndex with a name would else be stored where only pandas looks for it.
    is_named_range = isinstance(frame.index, pd.RangeIndex) and frame.index.name is not None
    try:
        return pa.Table.from_pandas(frame, preserve_index=True if is_named_range else None)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        reason = "; ".join(str(each) for each in error.args)
        raise StorageError(
            f"{asset}: the DataFrame cannot be stored ({' '.join(reason.split())[:200]});"
            " convert that column, for example by astype(str)"
        ) from error


def without_unnamed_index(schema: pa.Schema) -> pa.Schema:
    """Return the schema without the columns that hold an unnamed index."""
    return pa.schema([field for field in schema if not _UNNAMED.fullmatch(field.name)])


def index_columns(schema: pa.Schema) -> list[str]:
    """Return the names of the columns that hold the index of the stored DataFrame."""
    names = [each for each in _metadata(schema).get("index_columns", []) if isinstance(each, str)]
    return [name for name in names if name in schema.names]


def joined_metadata(tables: Mapping[str, pa.Table]) -> tuple[list[pa.Table], dict[bytes, bytes]]:
    """Return the tables and the metadata with which the joined ones have the index of all.

    `tables` are the partitions by key. Raises StorageError if their indices differ.
    """
    filled = {key: table for key, table in tables.items() if table.num_rows} or tables
    levels = {key: tuple(index_columns(table.schema)) for key, table in filled.items()}
    ready = list(tables.values())
    if _is_partly_numbered(levels.values()):
        ready = [table if index_columns(table.schema) else _numbered(table) for table in ready]
        levels = dict.fromkeys(levels, ("__index_level_0__",))
    _check_levels(levels)
    index = next(iter(levels.values()))
    described = [_metadata(table.schema) for table in ready]
    return ready, _merged([each for each in described if each], index)


def _check_labels(frame: "pd.DataFrame", asset: str) -> None:
    import pandas as pd

    columns = frame.columns
    if isinstance(columns, pd.MultiIndex):
        raise StorageError(
            f"{asset}: the DataFrame's columns are a MultiIndex, but Parquet's have one name each;"
            ' use df.columns = ["_".join(map(str, label)) for label in df.columns]'
        )
    if odd := _odd_label(columns):
        raise StorageError(
            f"{asset}: the DataFrame's column label {odd} is not a text, as Parquet's are; use"
            " df.columns = [str(label) for label in df.columns]"
        )
    if odd := _odd_label(name for name in frame.index.names if name is not None):
        raise StorageError(
            f"{asset}: the name {odd} of the DataFrame's index is not a text, as Parquet's are; use"
            " df.index.names = [str(name) for name in df.index.names]"
        )


def _odd_label(labels: Iterable[object]) -> str:
    return next((repr(label) for label in labels if not isinstance(label, str)), "")


def _check_levels(levels: Mapping[str, Sequence[str]]) -> None:
    (first, expected), *others = levels.items()
    for key, each in others:
        if each != expected:
            raise StorageError(
                f"partition {first} has the index {list(expected)}, partition {key} has"
                f" {list(each)}; store them with the same, for example by reset_index()"
            )


def _is_partly_numbered(levels: Collection[tuple[str, ...]]) -> bool:
    """Return whether some have a RangeIndex, and all others a single unnamed index."""
    return {*levels} == {(), ("__index_level_0__",)}


def _numbered(table: pa.Table) -> pa.Table:
    """Return the table with its RangeIndex as a column."""
    (found,) = _metadata(table.schema).get("index_columns") or [{}]
    start, step = found.get("start", 0), found.get("step", 1)
    numbers = pa.array([start + step * n for n in range(table.num_rows)], pa.int64())
    return table.append_column("__index_level_0__", numbers)


def _merged(described: Sequence[Mapping[str, Any]], index: Sequence[str]) -> dict[bytes, bytes]:
    """Return pandas' metadata of the joined table: of columns that are the same in all tables."""
    if not described:
        return {}
    columns = [
        column
        for column in _of_columns(described)
        if column["field_name"] in index
        or all(column in each.get("columns", ()) for each in described)
    ]
    merged = {**described[0], "index_columns": list(index), "columns": columns}
    return {_KEY: json.dumps(merged).encode()}


def _of_columns(described: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the first description of each column."""
    found: dict[str, dict[str, Any]] = {}
    for each in described:
        for column in each.get("columns", ()):
            found.setdefault(str(column["field_name"]), column)
    return list(found.values())


def _metadata(schema: pa.Schema) -> Mapping[str, Any]:
    try:
        return schema.pandas_metadata or {}
    except ValueError:
        return {}
