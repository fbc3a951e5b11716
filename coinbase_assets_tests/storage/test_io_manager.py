"""The IO manager: round trips, ranges, and the metadata it records."""

import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from coinbase_assets.storage.errors import BlobDamaged
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets.storage.partition_tables import PartitionTables
from coinbase_assets.storage.stored_blob import StoredBlob
from coinbase_assets.table_metadata import with_fields
from coinbase_assets_tests.running import partition_metadata
from coinbase_assets_tests.storage.prices import (
    BAD,
    DAYS,
    DECLARED,
    FIELDS,
    FIRST,
    GOOD,
    GRID,
    KEYS,
    NUMBER_COLUMN,
    SECOND,
    SHOWN,
    SITES,
    TABLE,
    THIRD,
    THREE_DAYS,
    Pairs,
    Reader,
    Runner,
    assert_is,
    numbers,
    path_of,
    prices,
    rows,
    streamed,
)


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


@pytest.mark.both_addresses
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


@pytest.mark.both_addresses
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


@pytest.mark.soak
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
            "dagster/size_bytes": blob.size,
            "dagster/column_schema": NUMBER_COLUMN,
            **SHOWN,
        }
        for n, (key, blob) in enumerate(zip(recorded, lake.list("").values(), strict=True), 1)
    }
    assert partition_metadata(result) == expected
    for metadata in partition_metadata(result).values():
        assert metadata["settled"] is True
        assert metadata["open"] is False


@pytest.mark.both_addresses
def test_output_metadata_is_in_instance(run: Runner, instance: dg.DagsterInstance) -> None:
    asset = prices(lambda context: {key: rows(*range(n)) for n, key in enumerate(KEYS, 1)})
    Runner(run.io_manager, instance)(asset, keys=THREE_DAYS)
    for n, key in enumerate(KEYS, 1):
        wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey("prices"), asset_partitions=[key])
        (record,) = instance.fetch_materializations(wanted, limit=2).records
        assert record.asset_materialization
        assert record.asset_materialization.metadata["dagster/row_count"].value == n
