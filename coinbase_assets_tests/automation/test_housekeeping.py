"""The housekeeping sensors' ticks, on a Dagster instance on disk."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from coinbase_assets.automation.housekeeping import orphaned_runs_sensor
from coinbase_assets.dagster_instance.orphaned_runs import run_lock

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


def tick(
    instance: dg.DagsterInstance, *configured: dg.AssetsDefinition
) -> tuple[list[dg.RunRequest], str]:
    repository = dg.Definitions(configured or [raw_candles]).get_repository_def()
    context = dg.build_sensor_context(instance, repository_def=repository)
    data = orphaned_runs_sensor.evaluate_tick(context)
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
    @dg.job
    def heal() -> None:
        """A job of ops."""

    run = instance.create_run_for_job(heal, status=dg.DagsterRunStatus.STARTED)
    instance.report_run_failed(run)
    instance.add_run_tags(run.run_id, {"dagster/will_retry": "false"})
    assert tick(instance)[0] == []
