"""What the IO manager refuses: paths, partitions, columns, types and versions."""

from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest

from coinbase_assets.storage.errors import BlobDamaged, PartitionMissing, StorageError
from coinbase_assets.storage.io_manager import AzureParquetIOManager
from coinbase_assets.storage.output_tables import VERSION_METADATA
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets.storage.partition_tables import PartitionTables
from coinbase_assets.table_metadata import with_fields
from coinbase_assets_tests.storage.prices import (
    BAD,
    DAYS,
    DECLARED,
    FIRST,
    GOOD,
    OLD,
    SECOND,
    TABLE,
    THIRD,
    THREE_DAYS,
    Reader,
    Runner,
    assert_is,
    path_of,
    prices,
    rows,
)


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


@pytest.mark.both_addresses
def test_input_names_missing_partitions(run: Runner) -> None:
    asset, reader = prices(lambda context: rows(1)), Reader(PartitionTables, DAYS)
    run(asset, keys=FIRST)
    with pytest.raises(PartitionMissing, match="prices") as raised:
        run(asset, reader.asset, only=reader.asset, keys=THREE_DAYS)
    assert SECOND in str(raised.value)
    assert THIRD in str(raised.value)
    assert FIRST not in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.both_addresses
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
        dg.Output(TABLE, metadata={VERSION_METADATA: "newest"}),
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


def test_partition_takes_memory_that_is_allowed(run: Runner) -> None:
    # 5 million rows, 80 MiB as they are counted.
    large = pa.table({"number": pa.array(np.zeros(5_000_000, np.int64))})
    asset, reader = prices(lambda context: large, None), Reader(pa.Table, None)
    run(asset, reader.asset)
    assert reader.value.num_rows == large.num_rows
    assert isinstance(run.io_manager, AzureParquetIOManager)
    storage, container = run.io_manager.storage, run.io_manager.container
    run.io_manager = AzureParquetIOManager(
        storage=storage, container=container, max_partition_mib=64
    )
    with pytest.raises(StorageError, match=r"may take 67,108,864; store it in several partitions"):
        run(asset)
