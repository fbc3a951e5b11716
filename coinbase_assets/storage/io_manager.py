"""A Dagster IO manager that stores each partition's table as one Parquet blob in Azure."""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar, get_args

import dagster as dg
import pyarrow as pa
from pydantic import PrivateAttr

from coinbase_assets.storage.asset_values import (
    is_data_frame,
    is_mapping,
    joined_tables,
    output_partitions,
    output_table,
)
from coinbase_assets.storage.blob_metadata import blob_metadata
from coinbase_assets.storage.concurrency import map_concurrently
from coinbase_assets.storage.declared_columns import (
    check_input_columns,
    check_output_columns,
    optional_columns,
)
from coinbase_assets.storage.errors import BlobChanged, PartitionMissing, StorageError
from coinbase_assets.storage.partition_tables import PartitionTables
from coinbase_assets.storage.paths import UNPARTITIONED, blob_path
from coinbase_assets.storage.stored_blob import StoredBlob
from coinbase_assets.table_metadata import all_fields, is_number

if TYPE_CHECKING:
    from coinbase_assets.storage.blob_rules import BlobRules
    from coinbase_assets.storage.parquet_store import ParquetStore

# Takes the stored blob, or None if there is none. Returns the table that replaces it, or None to
# keep it.
Update = Callable[[StoredBlob | None], pa.Table | None]


def leave_as_it_is(stored: StoredBlob | None) -> None:
    """Keep the stored blob; the run records it in Dagster."""


class AzureParquetIOManager(dg.ConfigurableIOManager):
    """Stores pandas DataFrames and pyarrow Tables, and loads inputs as their annotated types.

    Outputs. An asset returns a table for one partition. For several it returns a mapping of
    partition keys to tables, or an iterator of such pairs. Any table may be an Update. Each
    blob is replaced in one atomic put, which fails if another writer has changed the blob since
    this output began. The table is then put again, unless the other writer's version is greater.
    The version is a whole number: the output's metadata `version`, or the table's field `version`.

    Inputs. The annotation is `pd.DataFrame`, `pa.Table`, a `Mapping` from partition key to either,
    or `PartitionTables`, which downloads each `pa.Table` when it is accessed. The input's metadata
    may have `columns`, to load only those, and `allow_missing_partitions`, to skip partitions that
    have no blob.

    Resources. `storage` is an AzureStorageResource, dagster-azure's AzureBlobStorageResource, or
    any resource whose `get_client()` is a context manager that yields a BlobServiceClient.

    Rules. A subclass with `rules` notices damaged blobs, and treats them as missing.

    Definition metadata. `blob_path` names the blobs (see paths.py). `dagster/column_schema`
    declares the columns of every table (see declared_columns.py).

    Raises StorageError or a subclass of it.
    """

    storage: dg.ConfigurableResource
    container: str
    rules: ClassVar["BlobRules | None"] = None

    _store: "ParquetStore" = PrivateAttr()

    @contextmanager
    def yield_for_execution(
        self, context: dg.InitResourceContext
    ) -> Iterator["AzureParquetIOManager"]:
        from coinbase_assets.storage.azure_blobs import AzureBlobs
        from coinbase_assets.storage.parquet_store import ParquetStore

        with self.storage.get_client() as service:  # type: ignore[attr-defined]
            self._store = ParquetStore(AzureBlobs(service, self.container), self.rules)
            yield self

    def __repr_args__(self) -> list[tuple[str, str]]:
        """Leave `storage` out: other packages' resources may show their credential."""
        return [("container", self.container)]

    @property
    def store(self) -> "ParquetStore":
        """The container's tables."""
        return self._store

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        paths = _paths(context, context.definition_metadata)
        found = self._store.find(paths.values())

        def write(item: tuple[str, object]) -> tuple[str, StoredBlob]:
            key, value = item
            replacement = value if callable(value) else output_table(value, context)
            return key, self._replace(paths[key], replacement, found.get(paths[key]), context)

        with closing(obj) if isinstance(obj, Generator) else nullcontext():
            for key, blob in map_concurrently(write, output_partitions(obj, list(paths))):
                _add_metadata(context, key, self._store.uri(blob.path), blob)

    def _replace(
        self,
        path: str,
        value: Update | pa.Table,
        found: StoredBlob | None,
        context: dg.OutputContext,
    ) -> StoredBlob:
        """Put the table. After another writer's change, repeat unless its version is greater."""
        while True:
            try:
                table = value if isinstance(value, pa.Table) else value(found)
                if table is None:
                    return _kept(found, path)
                version = _version(table)
                check_output_columns(path, table.schema, context.definition_metadata)
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
                f"{context.asset_key.to_user_string()}: missing in {self._store.container_uri}:"
                f" {missing}; materialise the partitions first"
            )
        wanted = context.dagster_type.typing_type
        tables = PartitionTables(blobs, self._loader(paths, upstream, options, wanted))
        if wanted is PartitionTables:
            return tables
        return dict(tables.items()) if is_mapping(wanted) else joined_tables(tables, context)

    def _loader(
        self,
        paths: Mapping[str, str],
        upstream: Mapping[str, Any],
        options: Mapping[str, Any],
        wanted: Any,
    ) -> Callable[[str], Any]:
        """Return the function that loads a partition by its key, as the wanted type."""
        as_pandas = any(map(is_data_frame, (wanted, *get_args(wanted))))
        columns, optional = options.get("columns"), optional_columns(upstream)

        def load(key: str) -> Any:
            table = self._store.get(paths[key], columns, optional=optional)
            check_input_columns(self._store.uri(paths[key]), table.schema, upstream, columns)
            return table.to_pandas() if as_pandas else table

        return load


def _paths(
    context: dg.OutputContext | dg.InputContext, metadata: Mapping[str, Any]
) -> dict[str, str]:
    """Return the paths of the run's partitions by key, UNPARTITIONED for an unpartitioned asset."""
    keys = context.asset_partition_keys if context.has_asset_partitions else [UNPARTITIONED]
    return {key: blob_path(context.asset_key, metadata, key) for key in keys}


def _version(table: pa.Table) -> int:
    version = all_fields(table).get("version", "0")
    if not is_number(version):
        raise StorageError(f"version {version!r}: not a whole number; use digits only")
    return int(version)


def _kept(found: StoredBlob | None, path: str) -> StoredBlob:
    if not found:
        raise StorageError(
            f"{path}: the update returned None, but there is no blob to keep; return a table"
        )
    return found


def _add_metadata(context: dg.OutputContext, key: str, uri: str, blob: StoredBlob) -> None:
    """Record the blob's metadata as that of the partition's materialisation."""
    metadata = blob_metadata(uri, blob)
    context.step_context.add_asset_metadata(metadata, context.asset_key, key or None)
