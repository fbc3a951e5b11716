"""`recency_sensor`: evaluates the recency checks, whether or not anything is collected."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import dagster as dg

from coinbase_assets.candles.datasets import RAW_CANDLES
from coinbase_assets.candles.series import Series
from coinbase_assets.monitoring.freshness import FreshnessWindows
from coinbase_assets.monitoring.recency import NOTHING_COLLECTED, judge_series, thresholds
from coinbase_assets.storage.io_manager import AzureParquetIOManager

# A check's result is recorded when it changes, and after so long.
_TOLD_AGAIN_AFTER = timedelta(hours=1)


def build_recency_sensor(windows: Mapping[Series, FreshnessWindows]) -> dg.SensorDefinition:
    """The sensor that evaluates these checks, whether or not anything is collected."""

    @dg.sensor(
        name="recency_sensor",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells how far behind each series is, also when nothing is collected.",
    )
    def recency_sensor(
        context: dg.SensorEvaluationContext, lake: dg.ResourceParam[AzureParquetIOManager]
    ) -> dg.SensorResult:
        told: dict[str, list[str]] = json.loads(context.cursor or "{}")
        events, now = [], datetime.now(UTC)
        for series, window in windows.items():
            _, began = told.setdefault(str(series), ["seen", now.isoformat()])
            is_new = now - datetime.fromisoformat(began) < window.fail
            for name, (severity, found) in judge_series(lake.store, series, window).items():
                if found == NOTHING_COLLECTED and is_new:
                    continue
                state, check = severity.value if severity else "", f"{series} {name}"
                before = told.get(check)
                due = not before or now - datetime.fromisoformat(before[1]) > _TOLD_AGAIN_AFTER
                if due or (before and before[0] != state):
                    told[check] = [state, now.isoformat()]
                    events.append(_evaluation(series, name, severity, found, window))
        return dg.SensorResult(asset_events=events, cursor=json.dumps(told))

    return recency_sensor


def _evaluation(
    series: Series,
    name: str,
    severity: dg.AssetCheckSeverity | None,
    found: str,
    windows: FreshnessWindows,
) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(RAW_CANDLES.asset_key(series)),
        check_name=name,
        passed=severity is None,
        severity=severity or dg.AssetCheckSeverity.WARN,
        description=found,
        metadata=thresholds(windows),
    )
