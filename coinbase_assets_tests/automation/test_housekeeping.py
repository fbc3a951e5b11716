"""The housekeeping sensors' ticks, on a Dagster instance on disk."""

import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.sensor_definition import SensorExecutionData

from coinbase_assets.assets.candle_lake import CandleLake
from coinbase_assets.automation.housekeeping import orphaned_runs_sensor
from coinbase_assets.candles.datasets import RAW_CANDLES
from coinbase_assets.candles.series import Series
from coinbase_assets.candles.table import SCHEMA
from coinbase_assets.dagster_instance.heartbeats import HEARTBEAT_TAG
from coinbase_assets.dagster_instance.orphaned_runs import fail_orphans, run_lock
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets.storage.resource import AzureStorageResource
from coinbase_assets.table_metadata import with_fields

RANGE = {
    "dagster/asset_partition_range_start": "2024-01-01",
    "dagster/asset_partition_range_end": "2024-01-31",
    "dagster/backfill": "abc",
}
KEY = dg.AssetKey(["ETH-EUR", "15m", "raw_candles"])


@dg.asset(key=KEY, partitions_def=dg.DailyPartitionsDefinition("2024-01-01"))
def raw_candles() -> None:
    """A configured asset."""


@dg.asset
def another() -> None:
    """Another configured asset."""


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """A Dagster instance that retries runs whose process died, like the project's."""
    retries = {"enabled": True, "max_retries": 2, "retry_on_asset_or_op_failure": False}
    with dg.DagsterInstance.local_temp(
        str(tmp_path), overrides={"run_retries": retries, "telemetry": {"enabled": False}}
    ) as instance:
        yield instance


def lake_at(connection_string: str) -> CandleLake:
    return CandleLake(
        storage=AzureStorageResource(connection_string=connection_string),
        container=os.environ.get("COINBASE_CONTAINER", "lake"),
    )


@dg.job
def heal() -> None:
    """A job of ops."""


def unrecorded(cursor: str | None) -> object:
    return json.loads(cursor or "")["unrecorded"]


def evaluate(
    instance: dg.DagsterInstance,
    *configured: dg.AssetsDefinition,
    jobs: Sequence[dg.JobDefinition] = (),
    lake: CandleLake | None = None,
    cursor: str | None = None,
) -> SensorExecutionData:
    """Evaluate the sensor; without `lake`, its storage is one that refuses every connection."""
    account = "AccountName=a;AccountKey=a2V5;BlobEndpoint=http://127.0.0.1:1/a"
    resources = {"lake": lake or lake_at(account)}
    repository = dg.Definitions(configured or [raw_candles], jobs=jobs).get_repository_def()
    with dg.build_sensor_context(
        instance, cursor, repository_def=repository, resources=resources
    ) as context:
        return orphaned_runs_sensor.evaluate_tick(context)


def tick(
    instance: dg.DagsterInstance, *configured: dg.AssetsDefinition
) -> tuple[list[dg.RunRequest], str]:
    data = evaluate(instance, *configured)
    return list(data.run_requests or []), str(data.skip_message)


def failed_run(instance: dg.DagsterInstance, **tags: str) -> str:
    """Make a failed run that Dagster could not retry; return its id."""
    run = instance.create_run_for_job(
        dg.Definitions([raw_candles]).resolve_implicit_global_asset_job_def(),
        tags={**RANGE, **tags},
        status=dg.DagsterRunStatus.STARTED,
        asset_selection=frozenset([KEY]),
    )
    instance.report_run_failed(run)
    instance.add_run_tags(run.run_id, {"dagster/will_retry": "false"})
    return run.run_id


def test_orphans_of_killed_processes_are_failed(instance: dg.DagsterInstance) -> None:
    job = dg.Definitions([raw_candles]).resolve_implicit_global_asset_job_def()
    run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    with run_lock(Path(instance.root_directory), run.run_id):
        pass
    assert run.run_id in tick(instance)[1]
    assert instance.get_runs()[0].status == dg.DagsterRunStatus.FAILURE


def test_orphans_not_retried_by_dagster_are_launched_again(
    instance: dg.DagsterInstance,
) -> None:
    run_id = failed_run(instance, **{"dagster/will_retry": "true", "mine": "too"})
    (request,) = tick(instance)[0]
    assert (request.run_key, request.asset_selection) == (run_id, [KEY])
    assert request.tags == {**RANGE, "dagster/sensor_name": "orphaned_runs_sensor"}


def killed_run(instance: dg.DagsterInstance, **tags: str) -> str:
    """Make a run of raw days whose process is gone; return its id."""
    run = instance.create_run_for_job(
        dg.Definitions([raw_candles]).resolve_implicit_global_asset_job_def(),
        tags=tags,
        status=dg.DagsterRunStatus.STARTED,
        asset_selection=frozenset([KEY]),
    )
    with run_lock(Path(instance.root_directory), run.run_id):
        return run.run_id


def store_days(lake: ParquetStore, *days: str) -> None:
    for day in days:
        path = RAW_CANDLES.path(Series.parse("ETH-EUR:15m")).format(partition=day)
        lake.put(path, with_fields(SCHEMA.empty_table(), {"settled": "true"}), None)


@pytest.mark.parametrize(
    ("tags", "recorded"),
    [
        (RANGE, ["2024-01-01", "2024-01-31"]),
        ({"dagster/partition": "2024-01-31"}, ["2024-01-31"]),
        ({}, []),
    ],
    ids=["range", "one day", "no day"],
)
def test_days_stored_by_killed_process_are_recorded(
    instance: dg.DagsterInstance,
    lake: ParquetStore,
    connection_string: str,
    tags: dict[str, str],
    recorded: list[str],
) -> None:
    store_days(lake, "2023-12-31", "2024-01-01", "2024-01-02", "2024-01-31", "2024-02-01")
    instance.report_runless_asset_event(dg.AssetMaterialization(KEY, partition="2024-01-02"))
    killed_run(instance, **tags)
    events = evaluate(instance, lake=lake_at(connection_string)).asset_events
    assert [(event.asset_key, event.partition) for event in events] == [
        (KEY, day) for day in recorded
    ]
    assert [event.metadata["settled"].value for event in events] == [True] * len(recorded)
    assert evaluate(instance, lake=lake_at(connection_string)).asset_events == []


def test_days_stored_by_killed_process_are_recorded_after_an_outage_of_the_storage(
    instance: dg.DagsterInstance, lake: ParquetStore, connection_string: str
) -> None:
    store_days(lake, "2024-01-01")
    run_id = killed_run(instance, **RANGE)
    refused = re.sub("AccountKey=[^;]+", "AccountKey=d3Jvbmc=", connection_string)
    first = evaluate(instance, lake=lake_at(refused))
    assert (first.asset_events, unrecorded(first.cursor)) == ([], [run_id])
    second = evaluate(instance, lake=lake_at(connection_string), cursor=first.cursor)
    assert [event.partition for event in second.asset_events] == ["2024-01-01"]
    assert unrecorded(second.cursor) == []


def test_cursor_of_earlier_version_is_read(
    instance: dg.DagsterInstance, lake: ParquetStore, connection_string: str
) -> None:
    store_days(lake, "2024-01-01")
    run_id = killed_run(instance, **RANGE)
    fail_orphans(instance, Path(instance.root_directory))
    data = evaluate(instance, lake=lake_at(connection_string), cursor=json.dumps([run_id]))
    assert [event.partition for event in data.asset_events] == ["2024-01-01"]


def an_hour_earlier(cursor: str | None) -> str:
    read = json.loads(cursor or "")
    return json.dumps({**read, "at": read["at"] - 3600})


@pytest.mark.parametrize(
    ("job_name", "assets", "tags", "is_failed"),
    [
        ("__ASSET_JOB", [KEY], {}, True),
        ("__ASSET_JOB", [KEY], {HEARTBEAT_TAG: "other-host, process 7, heartbeat 3"}, True),
        ("__ASSET_JOB", [another.key], {}, False),
        ("__ASSET_JOB", None, {}, False),
        ("heal", None, {}, True),
        ("job_of_others", None, {}, False),
    ],
)
def test_run_of_another_host_is_failed_after_silence(
    instance: dg.DagsterInstance,
    job_name: str,
    assets: list[dg.AssetKey] | None,
    tags: dict[str, str],
    is_failed: bool,
) -> None:
    run = dg.DagsterRun(
        job_name,
        status=dg.DagsterRunStatus.STARTED,
        tags=tags,
        asset_selection=frozenset(assets) if assets else None,
    )
    instance.add_run(run)
    cursor = None
    for _ in range(3):
        data = evaluate(instance, raw_candles, jobs=[heal], cursor=cursor)
        cursor = an_hour_earlier(data.cursor)
    assert (run.run_id in str(data.skip_message)) == is_failed
    assert instance.get_runs()[0].is_finished == is_failed


@pytest.mark.parametrize(
    "tags", [{"dagster/max_retries": "0"}, {"dagster/failure_reason": "STEP_FAILURE"}]
)
def test_orphans_without_retries_are_not_launched_again(
    instance: dg.DagsterInstance, tags: dict[str, str]
) -> None:
    failed_run(instance, **tags)
    assert tick(instance) == ([], "Runs of killed processes that were marked as failed: none")


def test_orphans_to_be_retried_by_dagster_are_not_launched(instance: dg.DagsterInstance) -> None:
    run_id = failed_run(instance)
    instance.add_run_tags(run_id, {"dagster/will_retry": "true"})
    assert tick(instance)[0] == []


def test_orphans_of_unconfigured_assets_are_not_launched(
    instance: dg.DagsterInstance,
) -> None:
    failed_run(instance)
    assert tick(instance, another)[0] == []


def test_orphans_of_jobs_without_assets_are_not_launched(instance: dg.DagsterInstance) -> None:
    run = instance.create_run_for_job(heal, status=dg.DagsterRunStatus.STARTED)
    instance.report_run_failed(run)
    instance.add_run_tags(run.run_id, {"dagster/will_retry": "false"})
    assert tick(instance)[0] == []
