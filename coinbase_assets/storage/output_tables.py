"""What an asset or op returns: its partitions, and each value as an Arrow table."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import pyarrow as pa

from coinbase_assets.storage.errors import StorageError
from coinbase_assets.storage.output_names import name_of
from coinbase_assets.storage.pandas_tables import table_of_frame
from coinbase_assets.storage.table_kinds import (
    TableKind,
    allows_none,
    kind_of_class,
    marked,
    nothing,
)
from coinbase_assets.table_metadata import NAMESPACE, with_fields

VERSION_METADATA = f"{NAMESPACE.rstrip('.')}/version"
"""The key of an output's metadata that orders the writers of a blob, a whole number."""
_ACCEPTED = (
    "return a pandas or Polars DataFrame, a Polars LazyFrame, a pyarrow Table, RecordBatch or"
    " RecordBatchReader, or anything else with __arrow_c_stream__"
)


def output_partitions(obj: object, keys: list[str]) -> Iterator[tuple[str, object]]:
    """Yield the output's keys and tables. Raises StorageError if the keys are not the run's."""
    open_keys = set(keys)
    for key, value in _pairs(obj, keys):
        if key not in open_keys:
            raise StorageError(
                f"the output's partition {key!r} is repeated, or not among the run's: {keys}"
            )
        open_keys.remove(key)
        yield key, value
    if open_keys:
        raise StorageError(f"the output has no table for {sorted(map(str, open_keys))}")


def output_table(value: object, context: dg.OutputContext) -> pa.Table:
    """Return the value as a table, with the version in the output's metadata, if there is one.

    Raises StorageError if the value is not a table, or cannot be stored as one.
    """
    table = _table(value, context)
    if len(set(table.column_names)) < len(table.column_names):
        raise StorageError(
            f"{name_of(context)}: two columns have the same name, among {table.column_names};"
            " rename one of them"
        )
    version = (context.output_metadata or {}).get(VERSION_METADATA)
    return table if version is None else with_fields(table, {"version": str(version.value)})


def _pairs(obj: object, keys: list[str]) -> Iterator[tuple[str, object]]:
    if isinstance(obj, Mapping):
        return iter(obj.items())
    if isinstance(obj, Iterator) and not hasattr(obj, "__arrow_c_stream__"):
        return map(_checked_pair, obj)
    if len(keys) == 1:
        return iter([(keys[0], obj)])
    raise StorageError(
        f"the output of {len(keys)} partitions is a {type(obj).__name__};"
        " return a mapping or an iterator of (partition key, table) pairs"
    )


def _checked_pair(item: Any) -> tuple[str, object]:
    if isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str):
        return item
    raise StorageError(
        f"the output's iterator yields a {type(item).__name__}; let it yield (partition key, table)"
        " pairs, or return a pyarrow RecordBatchReader"
    )


def _table(value: object, context: dg.OutputContext) -> pa.Table:
    if value is None:
        return _nothing(context)
    try:
        return _converted(value, name_of(context))
    except (pa.ArrowException, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise StorageError(
            f"{name_of(context)}: the {type(value).__name__} cannot be stored ({reason});"
            " cast that column"
        ) from error


def _nothing(context: dg.OutputContext) -> pa.Table:
    if not allows_none(context.dagster_type.typing_type):
        raise StorageError(
            f"{name_of(context)}: the output is None; return a table, or annotate the output with"
            " `| None` to store None"
        )
    return nothing()


def _converted(value: Any, name: str) -> pa.Table:
    kind = kind_of_class(type(value))
    if kind is TableKind.PANDAS:
        return marked(table_of_frame(value, name), kind)
    if kind is TableKind.POLARS_LAZY:
        kind, value = TableKind.POLARS, value.collect()
    if kind is TableKind.POLARS:
        return marked(_of_polars(value), kind)
    if isinstance(value, pa.Table):
        return marked(value, TableKind.ARROW)
    if isinstance(value, pa.RecordBatch):
        return marked(pa.Table.from_batches([value]), TableKind.ARROW)
    if hasattr(value, "__arrow_c_stream__"):
        return marked(pa.RecordBatchReader.from_stream(value).read_all(), TableKind.ARROW)
    raise StorageError(f"{name}: cannot store a {type(value).__name__}; {_ACCEPTED}")


def _of_polars(frame: Any) -> pa.Table:
    for name, kind in frame.schema.items():
        # Arrow would get the addresses of the objects.
        if str(kind) == "Object":
            raise ValueError(f"the column {name!r} holds Python objects")
    return frame.to_arrow()
