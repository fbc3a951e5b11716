"""What Dagster has recorded after an output that failed or was cancelled."""

import signal
import threading
from collections.abc import Callable

import dagster as dg
import pyarrow as pa
import pytest

from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets.storage.resource import AzureStorageResource
from coinbase_assets.storage.stored_blob import StoredBlob
from coinbase_assets.table_metadata import with_fields
from coinbase_assets_tests.storage.prices import (
    FIELDS,
    FIRST,
    KEYS,
    NUMBER_COLUMN,
    SECOND,
    SHOWN,
    THREE_DAYS,
    Pairs,
    Runner,
    lake_of,
    path_of,
    rows,
    streamed,
)

PRICES = dg.AssetKey("prices")


@pytest.fixture
def run(lake: ParquetStore, connection_string: str, instance: dg.DagsterInstance) -> Runner:
    """Runs in an instance on disk, whose event log has batches."""
    return Runner(lake_of(AzureStorageResource(connection_string=connection_string)), instance)


def records(instance: dg.DagsterInstance) -> list[tuple[str | None, dict[str, object]]]:
    """Return the partition and the metadata of each record, the newest last."""
    found = instance.fetch_materializations(PRICES, limit=100, ascending=True).records
    return [
        (
            record.partition_key,
            {name: value.value for name, value in record.asset_materialization.metadata.items()},
        )
        for record in found
        if record.asset_materialization
    ]


def fail() -> None:
    raise ZeroDivisionError


def cancel() -> None:
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(
    ("end", "error"),
    [(fail, ZeroDivisionError), (cancel, dg.DagsterExecutionInterruptedError)],
)
def test_unfinished_output_records_what_is_stored(
    end: Callable[[], None],
    error: type[BaseException],
    run: Runner,
    lake: ParquetStore,
    instance: dg.DagsterInstance,
) -> None:
    ended = threading.Event()

    def under_way(stored: StoredBlob | None) -> pa.Table:
        ended.wait()
        return rows(2)

    def pairs() -> Pairs:
        yield FIRST, with_fields(rows(1), FIELDS)
        yield SECOND, under_way
        ended.set()
        end()

    with pytest.raises(error):
        run(streamed(pairs), keys=THREE_DAYS)
    recorded = dict(records(instance))
    assert list(recorded) == [FIRST, SECOND]
    blob = lake.list(path_of(FIRST))[path_of(FIRST)]
    assert recorded[FIRST] == {
        "dagster/uri": lake.uri(path_of(FIRST)),
        "dagster/row_count": 1,
        "dagster/size_bytes": blob.size,
        "dagster/column_schema": NUMBER_COLUMN,
        **SHOWN,
    }
    assert recorded[SECOND]["dagster/row_count"] == 1


def test_finished_output_is_recorded_once(run: Runner, instance: dg.DagsterInstance) -> None:
    run(streamed(lambda: iter([(key, rows(1)) for key in KEYS])), keys=THREE_DAYS)
    assert [partition for partition, _ in records(instance)] == list(KEYS)


def test_output_that_stored_nothing_records_nothing(
    run: Runner, instance: dg.DagsterInstance
) -> None:
    def pairs() -> Pairs:
        fail()
        yield FIRST, rows(1)

    with pytest.raises(ZeroDivisionError):
        run(streamed(pairs), keys=THREE_DAYS)
    assert records(instance) == []
