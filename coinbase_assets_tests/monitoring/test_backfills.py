"""A message about an ended back-fill counts what the lake holds, not what Dagster recorded."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.definitions.events import AssetKeyPartitionKey
from dagster._core.execution.asset_backfill import AssetBackfillData
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill

from coinbase_assets.candles.datasets import RAW_CANDLES
from coinbase_assets.candles.series import Series
from coinbase_assets.candles.table import empty_candles
from coinbase_assets.monitoring.backfills import backfill_message, ended_backfills, is_filling
from coinbase_assets.monitoring.destinations import Level, Message
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets.table_metadata import with_fields

NOW = datetime.now(UTC).replace(microsecond=0)
BEGAN = NOW - timedelta(minutes=90)
DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-02-01")
KEYS = DAYS.get_partition_keys()
SERIES = Series.parse("ETH-EUR:1h")
WEB = "http://127.0.0.1:3000"


@dg.asset(key=RAW_CANDLES.asset_key(SERIES), partitions_def=DAYS)
def raw_candles() -> None:
    """An asset with 31 partitions."""


def add_backfill(instance: dg.DagsterInstance, name: str, status: BulkActionStatus) -> None:
    """Add a back-fill of 13 days. Dagster has recorded none of them."""
    graph = dg.Definitions([raw_candles]).get_repository_def().asset_graph
    partitions = {AssetKeyPartitionKey(raw_candles.key, key) for key in KEYS[:13]}
    wanted = AssetGraphSubset.from_asset_partition_set(partitions, graph)
    began = BEGAN.timestamp()
    data = AssetBackfillData.empty(wanted, began, dynamic_partitions_store=instance)
    backfill = PartitionBackfill(name, status, False, {}, began)
    instance.add_backfill(backfill.with_asset_backfill_data(data, instance, graph))


def store(lake: ParquetStore, days: Sequence[str]) -> None:
    for day in days:
        table = with_fields(empty_candles(), {"settled": "true"})
        lake.put(RAW_CANDLES.path(SERIES).format(partition=day), table, None)


def message(instance: dg.DagsterInstance, lake: ParquetStore) -> Message:
    (backfill,) = ended_backfills(instance, NOW)
    described = backfill_message(backfill, lake, NOW, WEB)
    assert described
    return described


def test_backfill_message_of_success(instance: dg.DagsterInstance, lake: ParquetStore) -> None:
    store(lake, KEYS[:13])
    add_backfill(instance, "all", BulkActionStatus.COMPLETED_SUCCESS)
    assert message(instance, lake) == Message(
        "back-fill all",
        "Back-fill success: 13 of 13 partitions are stored",
        "ETH-EUR/1h/raw_candles: 13 of 13 partitions are stored\n"
        "It took 1 hour 30 minutes.\n"
        f"{WEB}/runs/b/all",
        Level.SUCCESS,
    )


@pytest.mark.parametrize(
    ("status", "word"),
    [(BulkActionStatus.CANCELED, "canceled"), (BulkActionStatus.COMPLETED_FAILED, "failed")],
)
def test_backfill_message_names_what_is_missing(
    instance: dg.DagsterInstance, lake: ParquetStore, status: BulkActionStatus, word: str
) -> None:
    store(lake, [*KEYS[:4], *KEYS[6:10]])
    add_backfill(instance, "some", status)
    found = message(instance, lake)
    assert found.title == f"Back-fill {word}: 8 of 13 partitions are stored"
    assert found.level == Level.WARNING
    missing = "2024-01-05..2024-01-06, 2024-01-11..2024-01-13"
    assert found.body.splitlines() == [
        f"ETH-EUR/1h/raw_candles: 8 of 13 partitions are stored; missing: {missing}",
        "It took 1 hour 30 minutes.",
        "To go on: coinbase-assets collect --series ETH-EUR:1h --from 2024-01-05 --to 2024-01-13",
        f"{WEB}/runs/b/some",
    ]


def test_ended_backfills_ignore_earlier_weeks(instance: dg.DagsterInstance) -> None:
    add_backfill(instance, "all", BulkActionStatus.COMPLETED_SUCCESS)
    assert len(ended_backfills(instance, NOW + timedelta(days=6))) == 1
    assert ended_backfills(instance, NOW + timedelta(days=8)) == []


def test_is_filling_while_a_backfill_runs(instance: dg.DagsterInstance) -> None:
    add_backfill(instance, "ended", BulkActionStatus.CANCELED)
    assert not is_filling(instance)
    add_backfill(instance, "running", BulkActionStatus.REQUESTED)
    assert is_filling(instance)
