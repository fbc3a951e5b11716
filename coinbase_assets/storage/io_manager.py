"""A Dagster IO manager that stores tables as Parquet blobs in Azure, one for each partition."""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import dagster as dg
import pyarrow as pa
from pydantic import PrivateAttr

from coinbase_assets.dagster_instance.failures import failure_of
from coinbase_assets.storage.concurrency import map_concurrently
from coinbase_assets.storage.declared_columns import check_output_columns
from coinbase_assets.storage.errors import BlobChanged, StorageError
from coinbase_assets.storage.input_tables import input_tables
from coinbase_assets.storage.input_values import converted, joined
from coinbase_assets.storage.output_names import name_of, output_paths
from coinbase_assets.storage.output_records import StoredOutput, record, record_unfinished
from coinbase_assets.storage.output_tables import output_partitions, output_table
from coinbase_assets.storage.partition_tables import PartitionTables
from coinbase_assets.storage.stored_blob import StoredBlob
from coinbase_assets.storage.table_kinds import InputType, is_nothing
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
    """Stores tables of pandas, Polars and pyarrow, and loads inputs as their annotated types.

    docs/io-manager.md has the rules and examples.

    Outputs. An asset or op returns a pandas or Polars DataFrame, a LazyFrame, a pyarrow Table,
    RecordBatch or RecordBatchReader, or None where its annotation allows that. For several
    partitions an asset returns a mapping of partition keys to these, or an iterator of such pairs.
    Any table may be an Update. Each blob is replaced in one atomic put, which fails if another
    writer has changed the blob since this output began. The table is then put again, unless the
    other writer's version is greater. The version is a whole number: the output's metadata
    `coinbase_assets/version`, or the table's field `version`.

    Inputs. The annotation is one of these classes, `X | None`, a `Mapping` from partition key to
    them, or `PartitionTables`, which downloads each table when it is accessed. Without annotation,
    a table is what it was when stored. The input's metadata may have `columns`, to load only those,
    and `allow_missing_partitions`, to skip partitions that have no blob.

    Resources. `storage` is an AzureStorageResource, dagster-azure's AzureBlobStorageResource, or
    any resource whose `get_client()` is a context manager that yields a BlobServiceClient.

    Options. `prefix` is the folder of all paths, `compression` that of the files (zstd, snappy,
    gzip, brotli, lz4, none), `row_group_size` the most rows of a row group. A partition takes at
    most `max_partition_mib` in memory; a larger one is refused.

    Rules. A subclass with `rules` notices damaged blobs, and treats them as missing.

    Definition metadata. `blob_path` names the blobs (see paths.py). `dagster/column_schema`
    declares the columns of every table (see declared_columns.py).

    Records. An output that fails or is cancelled records the partitions that it has stored.

    Raises dg.Failure, whose cause is a StorageError.
    """

    storage: dg.ConfigurableResource
    container: str
    prefix: str = ""
    compression: str = "zstd"
    row_group_size: int | None = None
    max_partition_mib: int = 4096
    rules: ClassVar["BlobRules | None"] = None

    _store: "ParquetStore" = PrivateAttr()

    @contextmanager
    def yield_for_execution(
        self, context: dg.InitResourceContext
    ) -> Iterator["AzureParquetIOManager"]:
        from coinbase_assets.storage.azure_blobs import AzureBlobs
        from coinbase_assets.storage.parquet_encoding import ParquetOptions
        from coinbase_assets.storage.parquet_store import ParquetStore

        with storage_failures():
            most = self.max_partition_mib * 2**20
            options = ParquetOptions(self.compression, self.row_group_size, most)
        with self.storage.get_client() as service:  # type: ignore[attr-defined]
            blobs = AzureBlobs(service, self.container, most)
            self._store = ParquetStore(blobs, self.rules, options)
            yield self

    def __repr_args__(self) -> list[tuple[str, str]]:
        """Leave `storage` out: other packages' resources may show their credential."""
        return [("container", self.container)]

    @property
    def store(self) -> "ParquetStore":
        """The container's tables."""
        return self._store

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        with storage_failures():
            self._store_output(context, obj)

    def _store_output(self, context: dg.OutputContext, obj: object) -> None:
        paths = output_paths(context, self.prefix)
        found = self._store.find(paths.values())
        stored = dict[str, StoredOutput]()

        def write(item: tuple[str, Update | pa.Table]) -> None:
            key, value = item
            stored[key] = self._replace(paths[key], value, found.get(paths[key]), context)

        try:
            with closing(obj) if isinstance(obj, Generator) else nullcontext():
                deque(map_concurrently(write, _tables(obj, list(paths), context)), maxlen=0)
        except BaseException:  # a cancel, too
            record_unfinished(context, stored)
            raise
        record(context, stored)

    def _replace(
        self,
        path: str,
        value: Update | pa.Table,
        found: StoredBlob | None,
        context: dg.OutputContext,
    ) -> StoredOutput:
        """Put the table. After another writer's change, repeat unless its version is greater."""
        output = partial(StoredOutput, uri=self._store.uri(path))
        while True:
            try:
                table = value if isinstance(value, pa.Table) else value(found)
                if table is None:
                    return output(_kept(found, path), schema=None)
                version = _version(table)
                if not is_nothing(all_fields(table)):
                    check_output_columns(path, table.schema, context.definition_metadata)
                return output(self._store.put(path, table, found), schema=table.schema)
            except BlobChanged:
                found = self._store.find([path]).get(path)
                if isinstance(value, pa.Table) and found and found.version > version:
                    return output(found, schema=None)

    def load_input(self, context: dg.InputContext) -> object:
        with storage_failures():
            return self._load_input(context)

    def _load_input(self, context: dg.InputContext) -> object:
        wanted = InputType.of(context.dagster_type.typing_type)
        tables = input_tables(self._store, context, self.prefix, wanted)
        if wanted.container is PartitionTables:
            return tables
        found = dict(tables.items())
        if wanted.container is None:
            return joined(found, wanted, name_of(context))
        return {key: converted(table, wanted.table) for key, table in found.items()}


@contextmanager
def storage_failures() -> Iterator[None]:
    """Raise a dg.Failure in place of a StorageError."""
    try:
        yield
    except StorageError as error:
        raise failure_of("Storage", error) from error


def _tables(
    obj: object, keys: list[str], context: dg.OutputContext
) -> Iterator[tuple[str, Update | pa.Table]]:
    """Yield the output's keys and tables, converted in the calling thread.

    Polars 2.1 can stop for ever when two threads convert a frame with categories at a time.
    """
    for key, value in output_partitions(obj, keys):
        yield key, value if callable(value) else output_table(value, context)


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
