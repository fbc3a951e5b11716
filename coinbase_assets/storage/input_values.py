"""Stored tables as what an input's annotation asks for, each alone or all joined."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from coinbase_assets.storage.errors import PartitionMissing, StorageError
from coinbase_assets.storage.pandas_tables import joined_metadata
from coinbase_assets.storage.table_kinds import InputType, TableKind, marked, stored_kind


def converted(table: pa.Table | None, kind: TableKind | None) -> Any:
    """Return the table as that kind; for None, as the kind that was stored. None stays None."""
    if table is None:
        return None
    kind = kind or stored_kind(table)
    table = marked(table, TableKind.ARROW)
    match kind:
        case TableKind.PANDAS:
            return table.to_pandas()
        case TableKind.POLARS | TableKind.POLARS_LAZY:
            return _as_polars(table, lazy=kind is TableKind.POLARS_LAZY)
        case TableKind.READER:
            return table.to_reader()
    return table


def joined(tables: Mapping[str, pa.Table | None], wanted: InputType, name: str) -> Any:
    """Return the rows of all partitions, in order; None if there are none and that is allowed.

    `name` is the asset's, for errors. Raises PartitionMissing if there are none, StorageError if
    their columns or indices do not go together.
    """
    found = {key: table for key, table in tables.items() if table is not None}
    if not found:
        if wanted.is_optional or tables:
            return None
        raise PartitionMissing(
            f"{name}: no partition is there to load; to load None, annotate the input with `| None`"
        )
    first = next(iter(found.values()))
    if len(found) == 1:
        return converted(first, wanted.table)
    kinds = {stored_kind(table) for table in found.values()}
    kind = wanted.table or (stored_kind(first) if len(kinds) == 1 else TableKind.ARROW)
    return converted(_joined_tables(found, kind, name), kind)


def _joined_tables(tables: Mapping[str, pa.Table], kind: TableKind, name: str) -> pa.Table:
    parts, metadata = list(tables.values()), None
    try:
        if kind is TableKind.PANDAS:
            parts, metadata = joined_metadata(tables)
        bare = [table.replace_schema_metadata(None) for table in parts]
        return pa.concat_tables(bare, promote_options="permissive").replace_schema_metadata(
            metadata
        )
    except StorageError as error:
        raise StorageError(f"{name}: {error}") from error
    except pa.ArrowException as error:
        reason = _difference(tables) or " ".join(str(error).split())[:200]
        raise StorageError(
            f"{name}: the partitions cannot be joined: {reason}; store one type, or annotate the"
            " input as a Mapping or PartitionTables"
        ) from error


def _difference(tables: Mapping[str, pa.Table]) -> str:
    """Return which column has types that no type holds both of, and in which partitions."""
    seen: dict[str, tuple[str, pa.Field]] = {}
    for key, table in tables.items():
        for field in table.schema.remove_metadata():
            before, other = seen.setdefault(field.name, (key, field))
            try:
                pa.unify_schemas(
                    [pa.schema([other]), pa.schema([field])], promote_options="permissive"
                )
            except pa.ArrowException:
                return (
                    f"{field.name!r} is {other.type} in partition {before}, but {field.type} in"
                    f" partition {key}"
                )
    return ""


def _as_polars(table: pa.Table, *, lazy: bool) -> Any:
    import polars as pl

    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame.lazy() if lazy else frame
