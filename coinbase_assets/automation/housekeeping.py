"""Sensors that clean up after runs: runs of killed processes, and runs that later runs replaced."""

import json
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from coinbase_assets.automation.rebuild_sensors import CANDLE_HISTORY_SENSOR, CANDLE_ROLLUP_SENSOR
from coinbase_assets.automation.schedules import CANDLE_CHART_SCHEDULE, LIVE_CANDLES_SCHEDULE
from coinbase_assets.automation.stale_months_sensor import STALE_MONTHS_SENSOR
from coinbase_assets.automation.unrecorded_days import unrecorded_days
from coinbase_assets.dagster_instance.deployment import SILENT
from coinbase_assets.dagster_instance.orphaned_runs import fail_orphans, without_their_retry
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

    The cursor holds the ids of runs whose days are not recorded yet: the storage did not answer.
    """
    orphans = fail_orphans(context.instance, Path(context.instance.root_directory))
    assert context.repository_def
    configured = context.repository_def.asset_graph.get_all_asset_keys()
    due = without_their_retry(context.instance, datetime.now(UTC))
    requests = [
        _request_again(run, run.asset_selection)
        for run in due
        if run.asset_selection and run.asset_selection <= configured
    ]
    left: list[str] = [*json.loads(context.cursor or "[]"), *orphans]
    records = list[dg.AssetMaterialization]()
    with suppress(StorageError):
        for run_id in left.copy():
            records += unrecorded_days(context.instance, lake.store, run_id)
            left.remove(run_id)
    failed = f"Runs of killed processes that were marked as failed: {', '.join(orphans) or 'none'}"
    return dg.SensorResult(
        requests, None if requests else failed, json.dumps(left), asset_events=records
    )


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
