"""A Dagster IO manager that keeps tables as Parquet blobs in Azure, one blob a partition."""

import json
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, get_args, get_origin

import dagster as dg
import pyarrow as pa
from pydantic import PrivateAttr

from coinbase_assets.storage.concurrency import map_concurrently
from coinbase_assets.storage.errors import BlobChanged, BlobDamaged, PartitionMissing, StorageError
from coinbase_assets.storage.partition_tables import PartitionTables
from coinbase_assets.storage.paths import UNPARTITIONED, blob_path
from coinbase_assets.storage.stored_blob import StoredBlob
from coinbase_assets.table_metadata import table_fields, with_fields

if TYPE_CHECKING:
    import pandas as pd

    from coinbase_assets.storage.parquet_store import ParquetStore

# Given the blob that is stored, if any: the table to replace it, or None to leave it.
Update = Callable[[StoredBlob | None], pa.Table | None]


def leave_as_it_is(stored: StoredBlob | None) -> None:
    """The Update that only records what is stored."""


class AzureParquetIOManager(dg.ConfigurableIOManager):
    """Stores pandas DataFrames and pyarrow Tables; loads what the input's annotation asks for.

    Outputs: a table, or for a range of partitions a mapping, or an iterable of pairs, of partition
    key and table; in place of a table also an Update. Each blob is replaced in one atomic put, only
    if nobody wrote it since this output began; who loses that race puts again, unless the other's
    version is greater (`version` in the output's metadata, an integer, or a field of the table).

    Inputs: `pd.DataFrame`, `pa.Table`, a `Mapping[str, ...]` of partition key to either, or
    `PartitionTables`, which loads each `pa.Table` when it is looked at. Input metadata: `columns`
    to load only those, `allow_missing_partitions` to skip partitions that have no blob.

    `storage` is an AzureStorageResource, dagster-azure's AzureBlobStorageResource, or another
    resource whose `get_client()` gives a BlobServiceClient in a context.

    Definition metadata: `blob_path` (see paths.py); `dagster/column_schema`, which every table
    stored or loaded must have. Raises StorageError or a kind of it.
    """

    storage: dg.ConfigurableResource
    container: str

    _store: "ParquetStore" = PrivateAttr()

    @contextmanager
    def yield_for_execution(
        self, context: dg.InitResourceContext
    ) -> Iterator["AzureParquetIOManager"]:
        from coinbase_assets.storage.parquet_store import ParquetStore

        with self.storage.get_client() as service:  # type: ignore[attr-defined]
            self._store = ParquetStore(service, self.container)
            yield self

    def __repr_args__(self) -> list[tuple[str, str]]:
        """Nothing that may be secret: a storage resource may show its credential."""
        return [("container", self.container)]

    @property
    def store(self) -> "ParquetStore":
        return self._store

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        paths = _paths(context, context.definition_metadata)
        found = self._store.find(paths.values())

        def write(item: tuple[str, object]) -> tuple[str, StoredBlob]:
            key, value = item
            replacement = value if callable(value) else _as_table(value, context)
            return key, self._replace(paths[key], replacement, found.get(paths[key]), context)

        with closing(obj) if isinstance(obj, Generator) else nullcontext():
            for key, blob in map_concurrently(write, _partitions(obj, list(paths))):
                _add_metadata(context, key, self._store.uri(blob.path), blob)

    def _replace(
        self,
        path: str,
        value: Update | pa.Table,
        found: StoredBlob | None,
        context: dg.OutputContext,
    ) -> StoredBlob:
        while True:
            try:
                table = value if isinstance(value, pa.Table) else value(found)
                if table is None:
                    return _existing(found, path)
                version = _version(table)
                _check_schema(path, table.schema, context.definition_metadata)
                return self._store.put(path, table, found)
            except BlobChanged:
                found = self._store.find([path]).get(path)
                if isinstance(value, pa.Table) and found and found.version > version:
                    return found

    def load_input(self, context: dg.InputContext) -> object:
        upstream = context.upstream_output.definition_metadata if context.upstream_output else {}
        options = context.definition_metadata
        paths = _paths(context, upstream)
        found = self._store.find(paths.values())
        blobs = {key: found[path] for key, path in paths.items() if path in found}
        if len(blobs) < len(paths) and not options.get("allow_missing_partitions"):
            missing = ", ".join(path for path in paths.values() if path not in found)
            raise PartitionMissing(
                f"{context.asset_key.to_user_string()}: not in {self._store.container_uri}:"
                f" {missing}; materialise it first"
            )
        wanted = context.dagster_type.typing_type
        as_pandas = any(map(_is_data_frame, (wanted, *get_args(wanted))))
        columns = options.get("columns")

        def load(key: str) -> Any:
            table = self._store.get(paths[key], columns)
            _check_schema(self._store.uri(paths[key]), table.schema, upstream, columns)
            return table.to_pandas() if as_pandas else table

        tables = PartitionTables(blobs, load)
        if wanted is PartitionTables:
            return tables
        return dict(tables.items()) if _is_mapping(wanted) else _joined(tables, context)


def _paths(
    context: dg.OutputContext | dg.InputContext, metadata: Mapping[str, Any]
) -> dict[str, str]:
    """The blob of every partition asked for; under the empty key that of an unpartitioned asset."""
    keys = context.asset_partition_keys if context.has_asset_partitions else [UNPARTITIONED]
    return {key: blob_path(context.asset_key, metadata, key) for key in keys}


def _is_data_frame(wanted: Any) -> bool:
    """Whether it is pandas' class; nothing is, before somebody imported pandas."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(wanted, type) and issubclass(wanted, pandas.DataFrame)


def _is_mapping(wanted: Any) -> bool:
    origin = get_origin(wanted)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _partitions(obj: object, keys: list[str]) -> Iterator[tuple[str, object]]:
    """The output's partitions. Raises StorageError unless they are just those of the run."""
    if isinstance(obj, Mapping):
        pairs = iter(obj.items())
    elif isinstance(obj, Iterator):
        pairs = obj
    elif len(keys) == 1:
        pairs = iter([(keys[0], obj)])
    else:
        raise StorageError(
            f"an output of {len(keys)} partitions is a {type(obj).__name__};"
            " return a mapping or an iterator of pairs of partition key and table"
        )
    open_keys = set(keys)
    for key, value in pairs:
        if key not in open_keys:
            raise StorageError(f"partition {key!r} came twice or is none of this run's: {keys}")
        open_keys.remove(key)
        yield key, value
    if open_keys:
        raise StorageError(f"the output has no table for {sorted(map(str, open_keys))}")


def _as_table(value: object, context: dg.OutputContext) -> pa.Table:
    if _is_data_frame(type(value)):
        value = pa.Table.from_pandas(value, preserve_index=False)
    if not isinstance(value, pa.Table):
        raise StorageError(
            f"{context.asset_key.to_user_string()}: cannot store a {type(value).__name__};"
            " return a pandas DataFrame or a pyarrow Table"
        )
    version = (context.output_metadata or {}).get("version")
    return value if version is None else with_fields(value, {"version": str(version.value)})


def _version(table: pa.Table) -> int:
    version = table_fields(table).get("version", "0")
    if not version.isdecimal():
        raise StorageError(f"version {version!r}: not a whole number, which orders writers")
    return int(version)


def _existing(found: StoredBlob | None, path: str) -> StoredBlob:
    if not found:
        raise StorageError(f"{path}: an update left a blob as it is that does not exist")
    return found


def _check_schema(
    path: str, schema: pa.Schema, metadata: Mapping[str, Any], columns: list[str] | None = None
) -> None:
    """Refuse other columns than those declared, or than those of them asked for."""
    declared = metadata.get("dagster/column_schema")
    if declared is None:
        return
    expected = {column.name: column.type for column in declared.columns}
    if columns is not None:
        expected = {name: expected.get(name, "not declared") for name in columns}
    actual = {field.name: str(field.type) for field in schema}
    if list(actual.items()) != list(expected.items()):
        raise BlobDamaged(f"{path}: holds the columns {actual}, declared are {expected}")


def _joined(partitions: PartitionTables, context: dg.InputContext) -> "pd.DataFrame | pa.Table":
    tables = list(partitions.values())
    if not tables:
        raise PartitionMissing(f"{context.asset_key.to_user_string()}: no partition to load")
    if len(tables) == 1:
        return tables[0]
    if _is_data_frame(type(tables[0])):
        import pandas as pd

        return pd.concat(tables, ignore_index=True)
    bare = [table.replace_schema_metadata(None) for table in tables]
    return pa.concat_tables(bare, promote_options="permissive")


def _add_metadata(context: dg.OutputContext, key: str, uri: str, blob: StoredBlob) -> None:
    """What the web UI shows of the blob: its place, size and fields."""
    fields = {name: _value(text) for name, text in blob.fields.items()}
    metadata = {"dagster/uri": uri, "size_bytes": blob.size, **fields}
    if "rows" in metadata:
        metadata["dagster/row_count"] = metadata.pop("rows")
    context.step_context.add_asset_metadata(metadata, context.asset_key, key or None)


def _value(text: str) -> int | bool | str:
    """A field's text, as a number or a truth value where it is one: the web UI plots those."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, int) else text
