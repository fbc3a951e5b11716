"""`first_runs_sensor`: requests what was never made, without waiting for its schedule.

History, coverage, halts and rollups follow by their own sensors.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

import dagster as dg

from coinbase_assets.automation.jobs import (
    DRAW_CHARTS,
    LIST_PRODUCTS,
    LIVE_CANDLES,
    asset_job,
)
from coinbase_assets.automation.schedules import live_run_tags
from coinbase_assets.candles.datasets import CANDLE_CHART, PRODUCTS, RAW_CANDLES
from coinbase_assets.candles.series import Series
from coinbase_assets.dagster_instance.deployment import OWN, Deployment
from coinbase_assets.dagster_instance.run_tags import RETRIED

# What is still not made after this time, for example in an outage, is requested again.
_REQUESTED_AGAIN_AFTER = timedelta(minutes=10)


def build_first_runs_sensor(
    series: Sequence[Series], charts: bool = True, deployment: Deployment = OWN
) -> dg.SensorDefinition:
    """Return the sensor that requests candles, charts and products that were never made.

    Its cursor holds when each asset that is not made yet was last requested.
    """
    wanted: Mapping[str, Sequence[dg.AssetKey]] = {
        LIVE_CANDLES: deployment.series_keys(RAW_CANDLES, series),
        LIST_PRODUCTS: [deployment.key(PRODUCTS)],
        DRAW_CHARTS: deployment.series_keys(CANDLE_CHART, series if charts else ()),
    }

    @dg.sensor(
        name=deployment.name("first_runs_sensor"),
        jobs=[asset_job(deployment, name, keys) for name, keys in wanted.items() if keys],
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Makes at once what was never made: the open day of a new series, its chart as soon as"
            " there is a history, the catalogue of products."
        ),
    )
    def first_runs_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        now, requested = datetime.now(UTC), json.loads(context.cursor or "{}")
        missing = {name: _makeable(context, keys) for name, keys in wanted.items()}
        due = {
            name: [key for key in keys if _is_due(requested.get(key.to_user_string()), now)]
            for name, keys in missing.items()
        }
        requested |= {key.to_user_string(): str(now) for keys in due.values() for key in keys}
        kept = {key.to_user_string() for keys in missing.values() for key in keys}
        return dg.SensorResult(
            run_requests=[
                _request(deployment, name, keys, now.date()) for name, keys in due.items() if keys
            ],
            cursor=json.dumps({key: time for key, time in requested.items() if key in kept}),
        )

    return first_runs_sensor


def _makeable(
    context: dg.SensorEvaluationContext, keys: Sequence[dg.AssetKey]
) -> Sequence[dg.AssetKey]:
    """Return the assets that were never made, but whose inputs were."""
    assert context.repository_def
    graph = context.repository_def.asset_graph
    inputs = {key: graph.get(key).parent_keys for key in keys}
    records = context.instance.get_asset_records([*keys, *set().union(*inputs.values())])
    entries = [record.asset_entry for record in records]
    made = {entry.asset_key for entry in entries if entry.last_materialization_storage_id}
    return [key for key in keys if key not in made and inputs[key] <= made]


def _is_due(requested: str | None, now: datetime) -> bool:
    return not requested or now - datetime.fromisoformat(requested) > _REQUESTED_AGAIN_AFTER


def _request(
    deployment: Deployment, name: str, keys: Sequence[dg.AssetKey], today: date
) -> dg.RunRequest:
    """Return a run of the job. Candles are those of the open day."""
    live = live_run_tags(deployment, today, today)
    return dg.RunRequest(
        job_name=deployment.name(name),
        run_config=deployment.run_config,
        asset_selection=keys,
        asset_check_keys=[],
        tags=live if name == LIVE_CANDLES else RETRIED,
    )
