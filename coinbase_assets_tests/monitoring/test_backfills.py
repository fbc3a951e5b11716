"""Ended back-fills become messages with what was materialised and what is missing."""

from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.definitions.events import AssetKeyPartitionKey
from dagster._core.execution.asset_backfill import AssetBackfillData
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill

from coinbase_assets.monitoring.backfills import backfill_message, ended_backfills

NOW = datetime.now(UTC).replace(microsecond=0)
BEGAN = NOW - timedelta(minutes=90)
DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-02-01")


@dg.asset(partitions_def=DAYS)
def days() -> None:
    """An asset with 31 partitions."""


def add_backfill(
    instance: dg.DagsterInstance, name: str, status: BulkActionStatus, done: int
) -> None:
    """A back-fill of 13 days, of which the first ones are materialised."""
    graph = dg.Definitions([days]).get_repository_def().asset_graph
    keys = DAYS.get_partition_keys()

    def subset(count: int) -> AssetGraphSubset:
        partitions = {AssetKeyPartitionKey(days.key, key) for key in keys[:count]}
        return AssetGraphSubset.from_asset_partition_set(partitions, graph)

    began = BEGAN.timestamp()
    data = AssetBackfillData.empty(subset(13), began, dynamic_partitions_store=instance)
    backfill = PartitionBackfill(name, status, False, {}, began)
    backfill = backfill.with_asset_backfill_data(
        data._replace(materialized_subset=subset(done)), instance, graph
    )
    instance.add_backfill(backfill)


def messages(instance: dg.DagsterInstance) -> dict[str, list[str]]:
    """Title and lines of the messages about ended back-fills, by the message's id."""
    found = [backfill_message(backfill, NOW) for backfill in ended_backfills(instance, NOW)]
    return {message.id: [message.title, *message.body.splitlines()] for message in found}


def test_backfill_message_names_missing_partitions(instance: dg.DagsterInstance) -> None:
    add_backfill(instance, "all", BulkActionStatus.COMPLETED_SUCCESS, 13)
    add_backfill(instance, "none", BulkActionStatus.CANCELED, 0)
    add_backfill(instance, "running", BulkActionStatus.REQUESTED, 5)
    named = ", ".join(f"days 2024-01-{day:02}" for day in range(1, 11))
    assert messages(instance) == {
        "back-fill all": ["Back-fill: success", "days: 13 of 13 partitions in 1:30:00"],
        "back-fill none": [
            "Back-fill: canceled",
            "days: 0 of 13 partitions in 1:30:00",
            f"missing: {named} and 3 more",
        ],
    }


def test_ended_backfills_ignore_earlier_weeks(instance: dg.DagsterInstance) -> None:
    add_backfill(instance, "all", BulkActionStatus.COMPLETED_SUCCESS, 13)
    assert len(ended_backfills(instance, NOW + timedelta(days=6))) == 1
    assert ended_backfills(instance, NOW + timedelta(days=8)) == []
