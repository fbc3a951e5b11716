"""What the housekeeping sensors do at a tick, on an instance on disk."""

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
    """Whatever runs."""


@dg.asset
def another() -> None:
    """Whatever else is configured."""


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """One that retries runs whose process died, as the project's own does."""
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
    """A run that failed, and that Dagster then could not retry."""
    run = instance.create_run_for_job(
        dg.Definitions([raw_candles]).resolve_implicit_global_asset_job_def(),
        tags={**RANGE, **tags},
        status=dg.DagsterRunStatus.STARTED,
        asset_selection=frozenset([KEY]),
    )
    instance.report_run_failed(run)
    instance.add_run_tags(run.run_id, {"dagster/will_retry": "false"})
    return run.run_id


def test_runs_of_killed_processes_are_failed(instance: dg.DagsterInstance) -> None:
    job = dg.Definitions([raw_candles]).resolve_implicit_global_asset_job_def()
    run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    with run_lock(Path(instance.root_directory), run.run_id):
        pass
    assert run.run_id in tick(instance)[1]
    assert instance.get_runs()[0].status == dg.DagsterRunStatus.FAILURE


def test_a_run_that_dagster_could_not_retry_is_launched_again(
    instance: dg.DagsterInstance,
) -> None:
    run_id = failed_run(instance, **{"dagster/will_retry": "true", "mine": "too"})
    (request,) = tick(instance)[0]
    assert (request.run_key, request.asset_selection) == (run_id, [KEY])
    assert request.tags == {**RANGE, "dagster/sensor_name": "orphaned_runs_sensor"}


@pytest.mark.parametrize(
    "tags", [{"dagster/max_retries": "0"}, {"dagster/failure_reason": "STEP_FAILURE"}]
)
def test_runs_that_are_not_to_be_retried_are_not_launched_again(
    instance: dg.DagsterInstance, tags: dict[str, str]
) -> None:
    failed_run(instance, **tags)
    assert tick(instance) == ([], "Failed runs left over: none")


def test_a_run_that_dagster_will_retry_is_left_to_it(instance: dg.DagsterInstance) -> None:
    run_id = failed_run(instance)
    instance.add_run_tags(run_id, {"dagster/will_retry": "true"})
    assert tick(instance)[0] == []


def test_a_run_of_an_asset_that_is_no_longer_configured_is_left_alone(
    instance: dg.DagsterInstance,
) -> None:
    failed_run(instance)
    assert tick(instance, another)[0] == []
