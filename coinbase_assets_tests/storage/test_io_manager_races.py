"""Races of writers for a blob: versions, updates, and concurrent runs."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from azure.storage.blob import (
    BlobServiceClient,
)

from coinbase_assets.storage.errors import StorageError
from coinbase_assets.storage.io_manager import leave_as_it_is
from coinbase_assets.storage.output_tables import VERSION_METADATA
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets.storage.stored_blob import StoredBlob
from coinbase_assets.table_metadata import with_fields
from coinbase_assets_tests.running import partition_metadata
from coinbase_assets_tests.storage.prices import (
    FIELDS,
    FIRST,
    KEYS,
    SECOND,
    TABLE,
    THREE_DAYS,
    Pairs,
    Runner,
    numbers,
    path_of,
    prices,
    rows,
    streamed,
)


def version_by_field(pairs: Pairs, version: int) -> dg.Output:
    field = {"version": str(version)}
    return dg.Output((key, with_fields(table, field)) for key, table in pairs)


def version_by_metadata(pairs: Pairs, version: int) -> dg.Output:
    frames = ((key, table.to_pandas()) for key, table in pairs)
    return dg.Output(frames, metadata={VERSION_METADATA: version})


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


@pytest.mark.both_addresses
def test_output_race_after_lost_answer(run: Runner, lake: ParquetStore) -> None:
    """The client repeats the put, and finds the blob of its first attempt."""

    def pairs() -> Pairs:
        for key in (FIRST, SECOND):
            lake.put(path_of(key), rows(1, version=5), None)
        yield FIRST, rows(1, version=5)
        yield SECOND, lambda stored: rows(1, version=5)

    run(streamed(pairs), keys=(FIRST, SECOND))
    assert [numbers(lake.get(path_of(key))) for key in (FIRST, SECOND)] == [[1], [1]]


@pytest.mark.both_addresses
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
    assert metadata[FIRST]["dagster/size_bytes"] == stored.size
    assert metadata[FIRST]["settled"] is True


def test_update_none_keeps_blob_without_fields(
    run: Runner, lake: ParquetStore, azurite: str
) -> None:
    stored = lake.put(path_of(FIRST), TABLE, None)
    with BlobServiceClient.from_connection_string(azurite) as service:
        blob = service.get_blob_client(os.environ["COINBASE_CONTAINER"], path_of(FIRST))
        blob.set_blob_metadata({})
    metadata = partition_metadata(run(prices(lambda context: leave_as_it_is), keys=FIRST))
    assert metadata[FIRST]["dagster/size_bytes"] == stored.size


def test_update_none_refuses_missing_blob(run: Runner) -> None:
    with pytest.raises(StorageError, match=path_of(FIRST)):
        run(prices(lambda context: leave_as_it_is), keys=FIRST)


@pytest.mark.soak
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
