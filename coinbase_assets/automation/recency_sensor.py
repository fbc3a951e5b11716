"""`recency_sensor`: evaluates the recency checks, whether or not anything is collected."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

import dagster as dg

from coinbase_assets.candles.datasets import RAW_CANDLES
from coinbase_assets.candles.series import Series
from coinbase_assets.dagster_instance.deployment import OWN, Deployment
from coinbase_assets.monitoring.freshness import FreshnessWindows
from coinbase_assets.monitoring.recency import NOTHING_COLLECTED, Verdict, judge_series
from coinbase_assets.storage.io_manager import AzureParquetIOManager

# A check's result is recorded when it changes, and again after this time.
_RECORD_AGAIN_AFTER = timedelta(hours=1)

# What the sensor's cursor holds. Of "SERIES CHECK": the severity last recorded, empty for a pass,
# and when it was recorded. Of "SERIES": "seen", and when the sensor first saw the series.
_Recorded = dict[str, list[str]]


def build_recency_sensor(
    windows: Mapping[Series, FreshnessWindows], deployment: Deployment = OWN
) -> dg.SensorDefinition:
    """Return the sensor that evaluates the recency checks of these series."""

    @dg.sensor(
        name=deployment.name("recency_sensor"),
        asset_selection=deployment.series_keys(RAW_CANDLES, windows),
        required_resource_keys={deployment.lake},
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Checks how far each series is behind the exchange, also while nothing is collected."
        ),
    )
    def recency_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        lake: AzureParquetIOManager = deployment.lake_of(context)
        recorded: _Recorded = json.loads(context.cursor or "{}")
        evaluations = [
            evaluation
            for series, window in windows.items()
            for evaluation in _due_evaluations(lake, deployment, series, window, recorded)
        ]
        return dg.SensorResult(asset_events=evaluations, cursor=json.dumps(recorded))

    return recency_sensor


def _due_evaluations(
    lake: AzureParquetIOManager,
    deployment: Deployment,
    series: Series,
    windows: FreshnessWindows,
    recorded: _Recorded,
) -> Iterator[dg.AssetCheckEvaluation]:
    """Yield the results that are to be recorded now, and note them in `recorded`.

    A series without data is left out until its failure window has passed since it was first seen.
    """
    now = datetime.now(UTC)
    _, first_seen = recorded.setdefault(str(series), ["seen", now.isoformat()])
    is_new = now - datetime.fromisoformat(first_seen) < windows.fail
    for name, verdict in judge_series(lake.store, series, windows).items():
        if verdict.found == NOTHING_COLLECTED and is_new:
            continue
        check, state = f"{series} {name}", verdict.severity.value if verdict.severity else ""
        if _is_due(recorded.get(check), state, now):
            recorded[check] = [state, now.isoformat()]
            yield _evaluation(deployment.key(RAW_CANDLES, series), name, verdict)


def _is_due(before: list[str] | None, state: str, now: datetime) -> bool:
    if not before or before[0] != state:
        return True
    return now - datetime.fromisoformat(before[1]) > _RECORD_AGAIN_AFTER


def _evaluation(key: dg.AssetKey, name: str, verdict: Verdict) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=key,
        check_name=name,
        passed=verdict.severity is None,
        severity=verdict.severity or dg.AssetCheckSeverity.WARN,
        description=verdict.found,
        metadata=verdict.metadata,
    )
