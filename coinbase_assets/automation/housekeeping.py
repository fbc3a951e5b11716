"""Sensors that clean up after runs: runs of killed processes, and runs that later runs replaced."""

import json
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg

from coinbase_assets.automation.rebuild_sensors import CANDLE_HISTORY_SENSOR, CANDLE_ROLLUP_SENSOR
from coinbase_assets.automation.schedules import CANDLE_CHART_SCHEDULE, LIVE_CANDLES_SCHEDULE
from coinbase_assets.automation.stale_months_sensor import STALE_MONTHS_SENSOR
from coinbase_assets.automation.unrecorded_days import unrecorded_days
from coinbase_assets.dagster_instance.deployment import SILENT
from coinbase_assets.dagster_instance.heartbeats import Heard
from coinbase_assets.dagster_instance.orphaned_runs import (
    fail_orphans,
    fail_silent,
    without_their_retry,
)
from coinbase_assets.dagster_instance.replaced_runs import delete_superseded_runs
from coinbase_assets.dagster_instance.run_tags import (
    BACKFILL_ID_TAG,
    PARTITION_RANGE_END_TAG,
    PARTITION_RANGE_START_TAG,
    PARTITION_TAG,
)
from coinbase_assets.storage.errors import StorageError
from coinbase_assets.storage.io_manager import AzureParquetIOManager

_KEPT_TAGS = (
    PARTITION_RANGE_START_TAG,
    PARTITION_RANGE_END_TAG,
    PARTITION_TAG,
    BACKFILL_ID_TAG,
)


@dg.sensor(
    name="orphaned_runs_sensor",
    asset_selection=dg.AssetSelection.all(),
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Marks runs of killed processes as failed, so that no other run waits for them, and records"
        " the days that they have stored."
        " Launches a failed run again if Dagster could not retry it because the code server was"
        " not running."
    ),
)
def orphaned_runs_sensor(
    context: dg.SensorEvaluationContext, lake: dg.ResourceParam[AzureParquetIOManager]
) -> dg.SensorResult:
    """The run key is the id of the failed run, so Dagster launches it again at most once.

    The cursor holds what was heard of runs and when, and the ids of runs whose days are not
    recorded yet: the storage did not answer.
    """
    assert context.repository_def
    repository = context.repository_def
    home, now = Path(context.instance.root_directory), time.time()
    at, before, left = _read_cursor(context.cursor, now)
    orphans = fail_orphans(context.instance, home)
    silent, heard = fail_silent(
        context.instance, home, before, now - at, lambda run: _is_ours(run, repository)
    )
    orphans += silent
    configured = repository.asset_graph.get_all_asset_keys()
    due = without_their_retry(context.instance, datetime.now(UTC))
    requests = [
        _request_again(run, run.asset_selection)
        for run in due
        if run.asset_selection and run.asset_selection <= configured
    ]
    left += orphans
    records = list[dg.AssetMaterialization]()
    with suppress(StorageError):
        for run_id in left.copy():
            records += unrecorded_days(context.instance, lake.store, run_id)
            left.remove(run_id)
    failed = f"Runs of killed processes that were marked as failed: {', '.join(orphans) or 'none'}"
    cursor = json.dumps({"at": now, "heard": heard, "unrecorded": left})
    return dg.SensorResult(requests, None if requests else failed, cursor, asset_events=records)


def _read_cursor(cursor: str | None, now: float) -> tuple[float, dict[str, Heard], list[str]]:
    """Return when runs were heard, what was heard of each, and the ids of unrecorded runs."""
    read: Any = json.loads(cursor or "[]")
    if isinstance(read, list):
        # Cursors were once only the list of unrecorded runs.
        return now, {}, read
    heard = {run_id: Heard(*each) for run_id, each in read["heard"].items()}
    return read["at"], heard, read["unrecorded"]


def _is_ours(run: dg.DagsterRun, repository: dg.RepositoryDefinition) -> bool:
    """Whether the run executes in this project's executor: others have no heartbeat."""
    if run.asset_selection:
        return run.asset_selection <= repository.asset_graph.get_all_asset_keys()
    return not run.job_name.startswith("__") and repository.has_job(run.job_name)


def _request_again(run: dg.DagsterRun, assets: Iterable[dg.AssetKey]) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=run.run_id,
        run_config=SILENT,
        asset_selection=list(assets),
        tags={tag: run.tags[tag] for tag in _KEPT_TAGS if tag in run.tags},
    )


@dg.sensor(
    name="superseded_runs_sensor",
    minimum_interval_seconds=900,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Deletes runs of schedules and sensors that later runs have replaced.",
)
def superseded_runs_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Launches no run. The cursor is where the next tick continues."""
    sweep = delete_superseded_runs(
        context.instance,
        datetime.now(UTC),
        schedules=[LIVE_CANDLES_SCHEDULE, CANDLE_CHART_SCHEDULE],
        sensors=[CANDLE_HISTORY_SENSOR, CANDLE_ROLLUP_SENSOR, STALE_MONTHS_SENSOR],
        cursor=context.cursor or None,
    )
    return dg.SensorResult(
        skip_reason=f"Deleted {len(sweep.deleted)} runs that later runs have replaced",
        cursor=sweep.cursor or "",
    )
