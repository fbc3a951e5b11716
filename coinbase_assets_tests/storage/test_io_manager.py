"""The IO manager: round trips, ranges, refusals, metadata, races for a blob, secrets."""

import base64
import itertools
import os
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from azure.storage.blob import (
    AccountSasPermissions,
    BlobServiceClient,
    ResourceTypes,
    generate_account_sas,
)
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
)
from dagster_azure.blob import (
    AzureBlobStorageKeyCredential,
    AzureBlobStorageResource,
)

from coinbase_assets.dagster_instance.executor import SILENT
from coinbase_assets.storage.errors import BlobDamaged, PartitionMissing, StorageError
from coinbase_assets.storage.io_manager import AzureParquetIOManager, leave_as_it_is
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets.storage.partition_tables import PartitionTables
from coinbase_assets.storage.resource import AzureStorageResource
from coinbase_assets.storage.stored_blob import StoredBlob
from coinbase_assets.table_metadata import with_fields
from coinbase_assets_tests.conftest import AZURITE_KEY
from coinbase_assets_tests.running import partition_metadata

DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-06-01")
SITES = dg.StaticPartitionsDefinition(["north", "south", "west"])
GRID = dg.MultiPartitionsDefinition({"site": SITES, "day": DAYS})
KEYS = FIRST, SECOND, THIRD = "2024-01-01", "2024-01-02", "2024-01-03"
THREE_DAYS = (FIRST, THIRD)

TABLE = pa.table(
    {
        "time": pa.array([0, 60_000_000], pa.timestamp("us", "UTC")),
        "price": [1.5, None],
        "note": ["a", "b"],
    }
)

Pairs = Iterator[tuple[str, Any]]


def rows(*numbers: int, version: int = 0) -> pa.Table:
    """Return a table that holds these numbers."""
    table = pa.table({"number": pa.array(numbers, pa.int64())})
    return with_fields(table, {"version": str(version)}) if version else table


def numbers(table: pa.Table) -> list[int]:
    return table["number"].to_pylist()


def path_of(day: str) -> str:
    return f"prices/partition={day}/data.parquet"


@dataclass
class Runner:
    """Materialises assets in one run: of one partition, or of a range from one key to another."""

    io_manager: dg.ConfigurableIOManager
    instance: dg.DagsterInstance

    def __call__(
        self,
        *assets: dg.AssetsDefinition,
        keys: tuple[str, str] | str | None = None,
        only: dg.AssetsDefinition | None = None,
    ) -> dg.ExecuteInProcessResult:
        tags = (ASSET_PARTITION_RANGE_START_TAG, ASSET_PARTITION_RANGE_END_TAG)
        return dg.materialize(
            assets,
            partition_key=keys if isinstance(keys, str) else None,
            tags=dict(zip(tags, keys, strict=True)) if isinstance(keys, tuple) else None,
            selection=[only] if only else None,
            instance=self.instance,
            resources={"io_manager": self.io_manager},
            run_config=SILENT,
        )


@pytest.fixture(scope="module")
def in_memory() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance for all tests; creating one takes longer than most tests."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def run(lake: ParquetStore, azurite: str, in_memory: dg.DagsterInstance) -> Runner:
    return Runner(lake_of(AzureStorageResource(connection_string=azurite)), in_memory)


def lake_of(storage: dg.ConfigurableResource) -> AzureParquetIOManager:
    return AzureParquetIOManager(storage=storage, container=os.environ["COINBASE_CONTAINER"])


def prices(
    output: Callable[[dg.AssetExecutionContext], object],
    partitions: dg.PartitionsDefinition | None = DAYS,
    **metadata: object,
) -> dg.AssetsDefinition:
    """Return an asset `prices` with this output."""
    asset = dg.asset(name="prices", partitions_def=partitions, metadata=metadata)
    return asset(lambda context: output(context))


def streamed(pairs: Callable[[], Pairs], **metadata: Any) -> dg.AssetsDefinition:
    """Return an asset `prices` whose partitions come from a generator."""
    return prices(lambda context: dg.Output(pairs(), metadata=metadata))


class Reader:
    """A downstream asset that keeps its input for the test to look at."""

    _numbers = itertools.count()

    def __init__(
        self,
        annotation: object,
        partitions: dg.PartitionsDefinition | None = None,
        **metadata: object,
    ) -> None:
        def reader(value: Any) -> None:
            self.kind = type(value)
            self.value: Any = dict(value) if isinstance(value, PartitionTables) else value

        reader.__annotations__["value"] = annotation
        self.asset = dg.asset(
            name=f"reader_{next(self._numbers)}",
            partitions_def=partitions,
            ins={"value": dg.AssetIn("prices", metadata=metadata)},
        )(reader)


def assert_is(actual: object, expected: pa.Table) -> None:
    """Check that a DataFrame or Table has the same rows and types."""
    if isinstance(actual, pd.DataFrame):
        pd.testing.assert_frame_equal(actual, expected.to_pandas())
        return
    assert isinstance(actual, pa.Table)
    # pandas returns texts as large_string.
    types = {field.name: str(field.type).removeprefix("large_") for field in actual.schema}
    assert types == {field.name: str(field.type) for field in expected.schema}
    assert actual.to_pylist() == expected.to_pylist()


# Round trips


@pytest.mark.parametrize("output", [TABLE.to_pandas(), TABLE], ids=["DataFrame", "Table"])
@pytest.mark.parametrize(
    ("partitions", "key", "path"),
    [
        (None, None, "prices/data.parquet"),
        (SITES, "north", "prices/partition=north/data.parquet"),
        (DAYS, FIRST, "prices/partition=2024-01-01/data.parquet"),
        (GRID, f"{FIRST}|west", "prices/day=2024-01-01/site=west/data.parquet"),
    ],
    ids=["unpartitioned", "static", "daily", "multi"],
)
def test_output_partition_is_one_blob(
    partitions: Any, key: str | None, path: str, output: Any, run: Runner, lake: ParquetStore
) -> None:
    readers = [Reader(pd.DataFrame, partitions), Reader(pa.Table, partitions)]
    asset = prices(lambda context: output, partitions)
    result = run(asset, *(reader.asset for reader in readers), keys=key)
    assert [reader.kind for reader in readers] == [pd.DataFrame, pa.Table]
    for reader in readers:
        assert_is(reader.value, TABLE)
    assert list(lake.list("")) == [path]
    assert partition_metadata(result).keys() == {str(key)}


def as_mapping(keys: Sequence[str]) -> object:
    return {key: rows(n) for n, key in enumerate(keys)}


def as_generator(keys: Sequence[str]) -> object:
    return dg.Output((key, rows(n)) for n, key in enumerate(keys))


def as_frames(keys: Sequence[str]) -> object:
    return dg.Output((key, rows(n).to_pandas()) for n, key in enumerate(keys))


@pytest.mark.parametrize(
    ("partitions", "keys", "count", "output"),
    [
        (SITES, ("north", "south"), 2, as_generator),
        (DAYS, THREE_DAYS, 3, as_generator),
        (DAYS, THREE_DAYS, 3, as_mapping),
        (DAYS, THREE_DAYS, 3, as_frames),
        (DAYS, SECOND, 1, as_generator),
        (DAYS, SECOND, 1, as_mapping),
        (GRID, (f"{FIRST}|north", f"{SECOND}|south"), 4, as_generator),
    ],
)
def test_output_range_is_one_blob_per_partition(
    partitions: Any, keys: Any, count: int, output: Any, run: Runner, lake: ParquetStore
) -> None:
    asked: list[str] = []

    def compute(context: dg.AssetExecutionContext) -> object:
        asked.extend(context.partition_keys)
        return output(asked)

    reader = Reader(PartitionTables, partitions)
    run(prices(compute, partitions), reader.asset, keys=keys)
    assert len(lake.list("")) == len(asked) == count
    stored = {key: numbers(table) for key, table in reader.value.items()}
    assert stored == {key: [n] for n, key in enumerate(asked)}


def test_input_mapping_has_tables_by_key(run: Runner) -> None:
    frames = [Reader(Mapping[str, pd.DataFrame], DAYS), Reader(dict[str, pd.DataFrame], DAYS)]
    tables = [Reader(Mapping[str, pa.Table], DAYS), Reader(dict[str, pa.Table], DAYS)]
    streams = [Reader(PartitionTables, DAYS)]
    readers = [*frames, *tables, *streams]
    asset = prices(lambda context: as_mapping(KEYS))
    run(asset, *(reader.asset for reader in readers), keys=THREE_DAYS)
    assert {reader.kind for reader in frames + tables} == {dict}
    assert {reader.kind for reader in streams} == {PartitionTables}
    assert {type(frame) for reader in frames for frame in reader.value.values()} == {pd.DataFrame}
    for reader in readers:
        assert list(reader.value) == list(KEYS)
        for n, table in enumerate(reader.value.values()):
            assert_is(table, rows(n))


def test_input_table_joins_partitions_in_order(run: Runner) -> None:
    """The partitions' fields differ; the joined table has none."""
    readers = [Reader(pd.DataFrame, DAYS), Reader(pa.Table, DAYS)]
    asset = prices(lambda context: {key: rows(n, n + 5, version=n) for n, key in enumerate(KEYS)})
    run(asset, *(reader.asset for reader in readers), keys=THREE_DAYS)
    assert [reader.kind for reader in readers] == [pd.DataFrame, pa.Table]
    for reader in readers:
        assert_is(reader.value, rows(0, 5, 1, 6, 2, 7))
    assert not readers[1].value.schema.metadata


def test_input_without_type_is_table(run: Runner) -> None:
    readers = [Reader(pd.DataFrame | None), Reader(pa.Table | None), Reader(Any)]
    run(prices(lambda context: rows(1), None), *(reader.asset for reader in readers))
    assert [reader.kind for reader in readers] == [pd.DataFrame, pa.Table, pa.Table]
    for reader in readers:
        assert_is(reader.value, rows(1))


def test_input_table_joins_all_null_partition(run: Runner) -> None:
    frames = {FIRST: pd.DataFrame({"note": [None]}), SECOND: pd.DataFrame({"note": ["a"]})}
    reader = Reader(pa.Table, DAYS)
    run(prices(lambda context: frames), reader.asset, keys=(FIRST, SECOND))
    assert reader.value["note"].to_pylist() == [None, "a"]


def test_partition_tables_load_on_access() -> None:
    loaded = []

    def load(key: str) -> pa.Table:
        loaded.append(key)
        return rows(len(loaded))

    tables = PartitionTables({key: StoredBlob(key, "", 0) for key in KEYS}, load)
    assert SECOND in tables
    assert tables.get("2025-01-01") is None
    assert loaded == []
    assert_is(tables[SECOND], rows(1))
    assert loaded == [SECOND]


def test_input_columns_selects_columns(run: Runner) -> None:
    kinds: list[Any] = [pa.Table, dict[str, pd.DataFrame], PartitionTables]
    readers = [Reader(kind, DAYS, columns=["note", "time"]) for kind in kinds]
    asset = prices(lambda context: dict.fromkeys([FIRST, SECOND], TABLE))
    run(asset, *(reader.asset for reader in readers), keys=(FIRST, SECOND))
    joined, frames, tables = [reader.value for reader in readers]
    assert joined.column_names == ["note", "time"]
    assert [list(frame.columns) for frame in frames.values()] == [["note", "time"]] * 2
    assert [table.column_names for table in tables.values()] == [["note", "time"]] * 2


@pytest.mark.parametrize(
    ("partitions", "key", "template", "path"),
    [
        (None, None, "all/prices.parquet", "all/prices.parquet"),
        (DAYS, FIRST, "daily/{partition}.parquet", f"daily/{FIRST}.parquet"),
        (GRID, f"{FIRST}|west", "{site}/day={day}.parquet", f"west/day={FIRST}.parquet"),
    ],
    ids=["unpartitioned", "daily", "multi"],
)
def test_blob_path_template_is_used(
    partitions: Any, key: Any, template: str, path: str, run: Runner, lake: ParquetStore
) -> None:
    asset = prices(lambda context: rows(7), partitions, blob_path=template)
    run(asset, keys=key)
    assert list(lake.list("")) == [path]
    reader = Reader(pa.Table, partitions)
    run(asset, reader.asset, only=reader.asset, keys=key)
    assert_is(reader.value, rows(7))


# What is refused


@pytest.mark.parametrize("keys", [THREE_DAYS, FIRST], ids=["in a run", "in runs"])
def test_blob_path_refuses_shared_blob(keys: Any, run: Runner, lake: ParquetStore) -> None:
    asset = prices(lambda context: dict.fromkeys(context.partition_keys, rows(1)), blob_path="all")
    with pytest.raises(StorageError, match="all"):
        run(asset, keys=keys)
    assert lake.list("") == {}


def test_blob_path_refuses_unknown_placeholder(run: Runner) -> None:
    asset = prices(lambda context: rows(1), blob_path="{day}.parquet")
    with pytest.raises(StorageError, match=r"\{day\}\.parquet"):
        run(asset, keys=FIRST)


def test_input_names_missing_partitions(run: Runner) -> None:
    asset, reader = prices(lambda context: rows(1)), Reader(PartitionTables, DAYS)
    run(asset, keys=FIRST)
    with pytest.raises(PartitionMissing, match="prices") as raised:
        run(asset, reader.asset, only=reader.asset, keys=THREE_DAYS)
    assert SECOND in str(raised.value)
    assert THIRD in str(raised.value)
    assert FIRST not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_input_skips_allowed_missing_partitions(run: Runner) -> None:
    asset = prices(lambda context: rows(7))
    run(asset, keys=SECOND)
    by_key = Reader(PartitionTables, allow_missing_partitions=True)
    joined = Reader(pa.Table, allow_missing_partitions=True)
    for reader in (by_key, joined):
        run(asset, reader.asset, only=reader.asset)
    assert list(by_key.value) == [SECOND]
    assert_is(joined.value, rows(7))


def test_input_table_refuses_no_partition(run: Runner) -> None:
    asset, reader = prices(lambda context: rows(7)), Reader(pa.Table, allow_missing_partitions=True)
    with pytest.raises(PartitionMissing, match="prices"):
        run(asset, reader.asset, only=reader.asset)


REQUIRED = dg.TableColumnConstraints(nullable=False)
DECLARED: dict[str, Any] = {
    "dagster/column_schema": dg.TableSchema(
        [
            dg.TableColumn("number", "int64"),
            dg.TableColumn("note", "string", constraints=REQUIRED),
            dg.TableColumn("share", "double"),
        ]
    )
}
GOOD = pa.table({"number": [1], "note": ["a"], "share": [0.5]})
OLD = GOOD.drop_columns("share")
BAD = {
    "missing column": GOOD.drop_columns("note"),
    "extra column": GOOD.append_column("more", GOOD["note"]),
    "other type": pa.table({"number": [1.5], "note": ["a"], "share": [0.5]}),
    "other order": GOOD.select(["note", "number", "share"]),
}


@pytest.mark.parametrize("updating", [False, True], ids=["table", "update"])
@pytest.mark.parametrize("bad", [*BAD.values(), OLD], ids=[*BAD, "missing nullable column"])
def test_output_refuses_undeclared_columns(
    bad: pa.Table, updating: bool, run: Runner, lake: ParquetStore
) -> None:
    asset = prices(lambda context: (lambda stored: bad) if updating else bad, **DECLARED)
    with pytest.raises(BlobDamaged, match=f"{path_of(FIRST)}: the table .*number.*; return"):
        run(asset, keys=FIRST)
    assert lake.list("") == {}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_input_refuses_undeclared_columns(bad: pa.Table, run: Runner, lake: ParquetStore) -> None:
    asset, reader = prices(lambda context: GOOD, **DECLARED), Reader(pa.Table, DAYS)
    lake.put(path_of(FIRST), bad, None)
    message = f"{path_of(FIRST)}: the blob .*number.*; if another version .* materialise"
    with pytest.raises(BlobDamaged, match=message):
        run(asset, reader.asset, only=reader.asset, keys=FIRST)


@pytest.mark.parametrize("columns", [None, ["note", "share"], ["share"]])
def test_input_accepts_missing_nullable_column(
    columns: list[str] | None, run: Runner, lake: ParquetStore
) -> None:
    asset, reader = (
        prices(lambda context: GOOD, **DECLARED),
        Reader(pa.Table, DAYS, columns=columns),
    )
    lake.put(path_of(FIRST), OLD, None)
    run(asset, reader.asset, only=reader.asset, keys=FIRST)
    names = columns or GOOD.column_names
    assert reader.value == OLD.select([name for name in names if name != "share"])


def test_input_columns_refuses_missing_required_column(run: Runner, lake: ParquetStore) -> None:
    asset = prices(lambda context: GOOD, **DECLARED)
    reader = Reader(pa.Table, DAYS, columns=["note"])
    lake.put(path_of(FIRST), BAD["missing column"], None)
    with pytest.raises(StorageError, match=f"{path_of(FIRST)}: has no column note"):
        run(asset, reader.asset, only=reader.asset, keys=FIRST)


def test_declared_columns_round_trip(run: Runner) -> None:
    for columns in (None, ["note"], ["share", "number"]):
        reader = Reader(pa.Table, DAYS, columns=columns)
        run(prices(lambda context: GOOD, **DECLARED), reader.asset, keys=FIRST)
        assert_is(reader.value, GOOD.select(columns or GOOD.column_names))


@pytest.mark.parametrize(
    ("output", "named"),
    [
        ([(FIRST, rows(1)), (SECOND, rows(1))], THIRD),
        ([(FIRST, rows(1)), ("2025-01-01", rows(1))], "2025-01-01"),
        ([(FIRST, rows(1)), (SECOND, rows(1)), (FIRST, rows(1))], FIRST),
        ({FIRST: rows(1), THIRD: rows(1)}, SECOND),
    ],
    ids=["missing", "foreign", "repeated", "missing in a mapping"],
)
def test_output_names_wrong_partitions(output: Any, named: str, run: Runner) -> None:
    pairs = iter(output) if isinstance(output, list) else output
    with pytest.raises(StorageError, match=f"'{named}'"):
        run(prices(lambda context: dg.Output(pairs)), keys=THREE_DAYS)


@pytest.mark.parametrize(
    ("output", "keys", "message"),
    [
        ([1, 2], FIRST, "prices: cannot store a list; return a"),
        ([1, 2], THREE_DAYS, "3 partitions is a list; return a mapping"),
        (TABLE, THREE_DAYS, "3 partitions is a Table; return a mapping"),
    ],
)
def test_output_names_unsupported_type(
    output: object, keys: Any, message: str, run: Runner, lake: ParquetStore
) -> None:
    with pytest.raises(StorageError, match=message):
        run(prices(lambda context: output), keys=keys)
    assert lake.list("") == {}


@pytest.mark.parametrize(
    "output",
    [
        dg.Output(TABLE, metadata={"version": "newest"}),
        dg.Output(with_fields(TABLE, {"version": "newest"})),
    ],
    ids=["metadata", "field"],
)
def test_output_refuses_version_without_number(
    output: dg.Output, run: Runner, lake: ParquetStore
) -> None:
    with pytest.raises(StorageError, match="newest"):
        run(prices(lambda context: output), keys=FIRST)
    assert lake.list("") == {}


# Ranges stream


def test_output_range_keeps_few_tables_in_memory(run: Runner, lake: ParquetStore) -> None:
    tables: list[weakref.ref[pa.Table]] = []
    alive, stored = list[int](), list[str]()

    def pairs() -> Pairs:
        for key in DAYS.get_partition_keys()[:60]:
            table = rows(*range(1000))
            tables.append(weakref.ref(table))
            alive.append(sum(table() is not None for table in tables))
            yield key, table
        stored.extend(lake.list(""))

    run(streamed(pairs), keys=(FIRST, "2024-02-29"))
    assert len(lake.list("")) == len(alive) == 60
    assert max(alive) < 30
    assert len(stored) > 30


def test_partition_tables_keep_few_tables_in_memory(run: Runner) -> None:
    big = pa.table({"number": np.random.default_rng(0).random(2**15)})
    held = []

    @dg.asset(partitions_def=DAYS)
    def reader(prices: PartitionTables) -> None:
        before = pa.total_allocated_bytes()
        for look in (prices.items(), prices.values()):
            for n, _ in enumerate(look):
                if n == 0:
                    time.sleep(0.2)  # time to load some of the tables, but not all
                held.append(pa.total_allocated_bytes() - before)

    asset = streamed(lambda: ((key, big) for key in DAYS.get_partition_keys()[:40]))
    run(asset, reader, keys=(FIRST, "2024-02-09"))
    assert len(held) == 80
    assert big.nbytes < max(held) < 20 * big.nbytes


def test_output_failure_keeps_blobs_stored_before(run: Runner, lake: ParquetStore) -> None:
    before = {path_of(key): lake.put(path_of(key), rows(0), None) for key in KEYS}

    def pairs() -> Pairs:
        yield FIRST, rows(1)
        yield SECOND, rows(2)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(streamed(pairs), keys=THREE_DAYS)
    assert [numbers(lake.get(path_of(key))) for key in KEYS] == [[1], [2], [0]]
    assert lake.list("").keys() == before.keys()
    assert lake.list("")[path_of(THIRD)] == before[path_of(THIRD)]


def test_output_refused_table_keeps_blob(run: Runner, lake: ParquetStore) -> None:
    before = lake.put(path_of(SECOND), GOOD, None)
    tables = {FIRST: GOOD, SECOND: BAD["other type"], THIRD: GOOD}
    with pytest.raises(BlobDamaged, match=path_of(SECOND)):
        run(prices(lambda context: tables, **DECLARED), keys=THREE_DAYS)
    assert lake.list("")[path_of(SECOND)] == before
    assert lake.get(path_of(FIRST)) == GOOD


def test_output_refused_table_closes_generator(run: Runner) -> None:
    closed_by = []

    def pairs() -> Pairs:
        try:
            for key in DAYS.get_partition_keys()[:40]:
                yield key, BAD["other type"]
        finally:
            closed_by.append(threading.current_thread())

    made = pairs()
    with pytest.raises(BlobDamaged):
        run(prices(lambda context: dg.Output(made), **DECLARED), keys=(FIRST, "2024-02-09"))
    assert closed_by == [threading.current_thread()]


# What is recorded


FIELDS = {"version": "7", "settled": "true", "open": "false", "share": "0.5", "by": "a test"}
SHOWN = {"version": 7, "settled": True, "open": False, "share": "0.5", "by": "a test"}


@pytest.mark.parametrize(
    ("partitions", "keys", "recorded"),
    [(None, None, [None]), (DAYS, FIRST, [FIRST]), (DAYS, THREE_DAYS, KEYS)],
    ids=["unpartitioned", "a partition", "a range"],
)
def test_output_records_metadata_per_partition(
    partitions: Any, keys: Any, recorded: Any, run: Runner, lake: ParquetStore
) -> None:
    tables = {key: with_fields(rows(*range(n)), FIELDS) for n, key in enumerate(recorded, 1)}
    output = tables if len(tables) > 1 else tables[recorded[0]]
    result = run(prices(lambda context: output, partitions), keys=keys)
    expected = {
        str(key): {
            "dagster/row_count": n,
            "dagster/uri": lake.uri(blob.path),
            "size_bytes": blob.size,
            **SHOWN,
        }
        for n, (key, blob) in enumerate(zip(recorded, lake.list("").values(), strict=True), 1)
    }
    assert partition_metadata(result) == expected
    for metadata in partition_metadata(result).values():
        assert metadata["settled"] is True
        assert metadata["open"] is False


def test_output_metadata_is_in_instance(run: Runner, instance: dg.DagsterInstance) -> None:
    asset = prices(lambda context: {key: rows(*range(n)) for n, key in enumerate(KEYS, 1)})
    Runner(run.io_manager, instance)(asset, keys=THREE_DAYS)
    for n, key in enumerate(KEYS, 1):
        wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey("prices"), asset_partitions=[key])
        (record,) = instance.fetch_materializations(wanted, limit=2).records
        assert record.asset_materialization
        assert record.asset_materialization.metadata["dagster/row_count"].value == n


# Races for a blob


def version_by_field(pairs: Pairs, version: int) -> dg.Output:
    field = {"version": str(version)}
    return dg.Output((key, with_fields(table, field)) for key, table in pairs)


def version_by_metadata(pairs: Pairs, version: int) -> dg.Output:
    frames = ((key, table.to_pandas()) for key, table in pairs)
    return dg.Output(frames, metadata={"version": version})


@pytest.mark.parametrize("versioned", [version_by_field, version_by_metadata])
@pytest.mark.parametrize("replaced", [False, True], ids=["a new blob", "a replaced blob"])
def test_output_race_keeps_greater_version(
    replaced: bool, versioned: Any, run: Runner, lake: ParquetStore
) -> None:
    """Of two tables with the same version, the later one stays."""
    theirs = dict(zip(KEYS, (4, 5, 6), strict=True))
    before = {key: lake.put(path_of(key), rows(), None) for key in KEYS if replaced}

    def pairs() -> Pairs:
        for key, version in theirs.items():
            lake.put(path_of(key), rows(0, version=version), before.get(key))
            yield key, rows(1, 1)

    result = run(prices(lambda context: versioned(pairs(), 5)), keys=THREE_DAYS)
    blobs = lake.list("").values()
    assert [numbers(lake.get(blob.path)) for blob in blobs] == [[1, 1], [1, 1], [0]]
    assert [blob.version for blob in blobs] == [5, 5, 6]
    recorded = [metadata["dagster/row_count"] for metadata in partition_metadata(result).values()]
    assert recorded == [2, 2, 1]


def test_output_race_after_lost_answer(run: Runner, lake: ParquetStore) -> None:
    """The client repeats the put, and finds the blob of its first attempt."""

    def pairs() -> Pairs:
        for key in (FIRST, SECOND):
            lake.put(path_of(key), rows(1, version=5), None)
        yield FIRST, rows(1, version=5)
        yield SECOND, lambda stored: rows(1, version=5)

    run(streamed(pairs), keys=(FIRST, SECOND))
    assert [numbers(lake.get(path_of(key))) for key in (FIRST, SECOND)] == [[1], [1]]


def test_update_repeats_after_lost_put(run: Runner, lake: ParquetStore) -> None:
    path, given = path_of(FIRST), list[StoredBlob | None]()

    def update(stored: StoredBlob | None) -> pa.Table:
        given.append(stored)
        known = numbers(lake.get(path, etag=stored.etag)) if stored else []
        if len(given) < 4:
            lake.put(path, rows(*known, len(given)), stored)
        return rows(*known, 0)

    run(prices(lambda context: update), keys=FIRST)
    assert given[0] is None
    assert len({blob.etag for blob in given if blob}) == 3
    assert numbers(lake.get(path)) == [1, 2, 3, 0]


def test_update_repeats_after_changed_read(run: Runner, lake: ParquetStore) -> None:
    path, given = path_of(FIRST), list[StoredBlob]()
    lake.put(path, rows(0), None)

    def update(stored: StoredBlob | None) -> pa.Table:
        assert stored
        given.append(stored)
        if len(given) == 1:
            lake.put(path, rows(1), stored)
        return rows(*numbers(lake.get(path, etag=stored.etag)), 2)

    run(prices(lambda context: update), keys=FIRST)
    assert numbers(lake.get(path)) == [1, 2]


def test_update_none_keeps_and_records_blob(run: Runner, lake: ParquetStore) -> None:
    stored = lake.put(path_of(FIRST), with_fields(rows(1, 2, 3), FIELDS), None)
    metadata = partition_metadata(run(prices(lambda context: leave_as_it_is), keys=FIRST))
    assert lake.list("") == {path_of(FIRST): stored}
    assert metadata[FIRST]["dagster/row_count"] == 3
    assert metadata[FIRST]["size_bytes"] == stored.size
    assert metadata[FIRST]["settled"] is True


def test_update_none_keeps_blob_without_fields(
    run: Runner, lake: ParquetStore, azurite: str
) -> None:
    stored = lake.put(path_of(FIRST), TABLE, None)
    with BlobServiceClient.from_connection_string(azurite) as service:
        blob = service.get_blob_client(os.environ["COINBASE_CONTAINER"], path_of(FIRST))
        blob.set_blob_metadata({})
    metadata = partition_metadata(run(prices(lambda context: leave_as_it_is), keys=FIRST))
    assert metadata[FIRST]["size_bytes"] == stored.size


def test_update_none_refuses_missing_blob(run: Runner) -> None:
    with pytest.raises(StorageError, match=path_of(FIRST)):
        run(prices(lambda context: leave_as_it_is), keys=FIRST)


def test_update_concurrent_runs_lose_no_row(run: Runner, lake: ParquetStore) -> None:
    """Twenty assets in each run add a row to the same blob, at the same time as the other run."""
    together, made = threading.Barrier(2), list[int]()

    def adding(number: int) -> dg.AssetsDefinition:
        def update(stored: StoredBlob | None) -> pa.Table:
            known = numbers(lake.get(stored.path, etag=stored.etag)) if stored else []
            if number not in made:
                made.append(number)
                together.wait(30)
            else:
                made.append(number)
            return rows(*known, number)

        asset = dg.asset(name=f"number_{number:02}", metadata={"blob_path": "shared.parquet"})
        return asset(lambda: update)

    def add(numbers: range) -> None:
        # Each run has an instance: SQLite in memory refuses the second of two concurrent writers.
        with dg.DagsterInstance.ephemeral() as instance:
            replace(run, instance=instance)(*map(adding, numbers))

    with ThreadPoolExecutor() as pool:
        list(pool.map(add, [range(20), range(20, 40)]))
    assert sorted(numbers(lake.get("shared.parquet"))) == list(range(40))
    assert len(made) >= 60


# Secrets


SECRET = "LAKE_SECRET"


@dataclass
class Credential:
    """A storage resource, the secret's right and refused values, and the texts to hide."""

    storage: dg.ConfigurableResource
    right: str
    refused: str
    hidden: list[str]


@pytest.fixture
def credentials(lake: ParquetStore, azurite: str) -> list[Credential]:
    url, secret = lake.container_uri.rpartition("/")[0], dg.EnvVar(SECRET)
    wrong = base64.b64encode(b"a key, but not that of this account").decode()
    right_sas, late_sas = account_sas(hours=1), account_sas(hours=-1)
    signatures = [sas.partition("sig=")[2] for sas in (right_sas, late_sas)]
    by_text = AzureStorageResource(connection_string=secret)
    by_key = AzureStorageResource(account_url=url, account_key=secret)
    by_sas = AzureStorageResource(account_url=url, sas_token=secret)
    return [
        Credential(by_text, azurite, azurite.replace(AZURITE_KEY, wrong), [AZURITE_KEY, wrong]),
        Credential(by_key, AZURITE_KEY, wrong, [AZURITE_KEY, wrong]),
        Credential(by_sas, right_sas, late_sas, [*signatures, *map(unquote, signatures)]),
    ]


def account_sas(hours: int) -> str:
    return generate_account_sas(
        "devstoreaccount1",
        AZURITE_KEY,
        ResourceTypes(container=True, object=True),
        AccountSasPermissions(read=True, write=True, list=True, create=True),
        expiry=datetime.now(UTC) + timedelta(hours=hours),
    )


def assert_hidden(hidden: list[str], texts: list[str]) -> None:
    for secret in hidden:
        assert len(secret) > 40
        assert not [text for text in texts if secret in text]


def test_secret_is_in_no_event_log_or_error(
    credentials: list[Credential],
    instance: dg.DagsterInstance,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    shown = []
    for credential in credentials:
        run, asset = Runner(lake_of(credential.storage), instance), prices(lambda context: TABLE)
        monkeypatch.setenv(SECRET, credential.right)
        run(asset, keys=FIRST)
        monkeypatch.setenv(SECRET, credential.refused)
        with pytest.raises(StorageError) as raised:
            run(asset, keys=SECOND)
        shown += traceback.format_exception(raised.value)
    events = [
        str(entry) for run_id in instance.get_run_ids() for entry in instance.all_logs(run_id)
    ]
    files = [path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()]
    shown += [*events, *files, *capfd.readouterr(), caplog.text]
    assert len(instance.get_run_ids()) == 6
    for texts in (events, files):
        assert any("STEP_FAILURE" in text for text in texts)
        assert any("StorageError" in text for text in texts)
    for credential in credentials:
        assert_hidden(credential.hidden, shown)


def test_secret_is_in_no_repr(
    credentials: list[Credential], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []

    def show(*things: object) -> None:
        shown.extend(text for thing in things for text in (repr(thing), str(thing)))

    @dg.asset
    def shows(lake: dg.ResourceParam[AzureParquetIOManager]) -> None:
        show(lake, lake.storage, lake.store)

    for credential in credentials:
        monkeypatch.setenv(SECRET, credential.right)
        io_manager = lake_of(credential.storage)
        definitions = dg.Definitions([shows], resources={"lake": io_manager})
        show(io_manager, io_manager.storage, definitions, definitions.get_repository_def())
        definitions.resolve_implicit_global_asset_job_def().execute_in_process(run_config=SILENT)
    assert len(shown) == 3 * 14
    for credential in credentials:
        assert_hidden(credential.hidden, shown)


def test_secret_of_other_resource_is_in_no_repr(lake: ParquetStore) -> None:
    """The repr of dagster-azure's own resource shows its credential."""
    key = AzureBlobStorageKeyCredential(key=AZURITE_KEY)
    io_manager = lake_of(AzureBlobStorageResource(account_url=lake.container_uri, credential=key))
    assert_hidden([AZURITE_KEY], [repr(io_manager), str(io_manager)])
