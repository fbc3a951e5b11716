"""The stored tables of an input, by partition key."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg
import pyarrow as pa

from coinbase_assets.storage.declared_columns import check_input_columns, optional_columns
from coinbase_assets.storage.errors import PartitionMissing, StorageError
from coinbase_assets.storage.input_values import converted
from coinbase_assets.storage.output_names import input_paths, name_of
from coinbase_assets.storage.partition_tables import PartitionTables
from coinbase_assets.storage.stored_blob import StoredBlob
from coinbase_assets.storage.table_kinds import InputType, TableKind, is_nothing

if TYPE_CHECKING:
    from coinbase_assets.storage.parquet_store import ParquetStore


def input_tables(
    store: "ParquetStore", context: dg.InputContext, prefix: str, wanted: InputType
) -> PartitionTables:
    """Return the partitions of the input, as Arrow tables.

    Raises PartitionMissing if some have no blob, unless the input's metadata allows it.
    """
    upstream = context.upstream_output.definition_metadata if context.upstream_output else {}
    options = context.definition_metadata
    paths = input_paths(context, upstream, prefix)
    found = store.find(paths.values())
    blobs = {key: found[path] for key, path in paths.items() if path in found}
    if len(blobs) < len(paths) and not options.get("allow_missing_partitions"):
        missing = ", ".join(path for path in paths.values() if path not in found)
        raise PartitionMissing(
            f"{name_of(context)}: missing in {store.container_uri}: {missing};"
            " materialise the partitions first"
        )
    read = _reader(store, upstream, options.get("columns"), wanted)

    def load(key: str) -> Any:
        table = read(blobs[key])
        # Only Arrow is used in several threads; other libraries may stop for ever in them.
        return converted(table, wanted.table) if wanted.container is PartitionTables else table

    return PartitionTables(blobs, load)


def _reader(
    store: "ParquetStore",
    upstream: Mapping[str, Any],
    columns: list[str] | None,
    wanted: InputType,
) -> Callable[[StoredBlob], pa.Table | None]:
    """Return the function that reads the table in a blob, or the None that it stands for."""
    optional, with_index = optional_columns(upstream), wanted.table in (TableKind.PANDAS, None)

    def read(blob: StoredBlob) -> pa.Table | None:
        uri = store.uri(blob.path)
        if is_nothing(blob.fields):
            _check_none(uri, wanted)
            return None
        table = store.get(blob.path, columns, optional=optional, with_index=with_index)
        check_input_columns(uri, table.schema, upstream, columns)
        return table

    return read


def _check_none(uri: str, wanted: InputType) -> None:
    if not wanted.holds_optional:
        raise StorageError(f"{uri}: holds None; annotate the input with `| None`")
