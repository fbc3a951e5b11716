"""How far behind a series is, told by the blobs' own metadata; two asset checks say so.

Dagster's freshness policies look at when an asset was last materialised, whichever partition that
was; these checks look at how far the exchange has answered, and at the newest candle.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from coinbase_assets.assets import candle_coverage, raw_candles
from coinbase_assets.freshness import FreshnessWindows
from coinbase_assets.series import Series
from coinbase_assets.storage.errors import StorageError
from coinbase_assets.storage.io_manager import AzureParquetIOManager
from coinbase_assets.storage.stored_blob import StoredBlob

if TYPE_CHECKING:
    from coinbase_assets.storage.parquet_store import ParquetStore

ANSWERS, CANDLES = CHECKS = ("answers_are_recent", "latest_candle_is_recent")
_DESCRIPTIONS = {
    ANSWERS: "The exchange has answered up to within the freshness windows.",
    CANDLES: "The newest candle is no older than the series' usual pauses allow.",
}
# A check's result is told when it changes, and after so long.
_TOLD_AGAIN_AFTER = timedelta(hours=1)
_NOTHING = "nothing is collected yet"


@dataclass(frozen=True)
class Recency:
    """Up to which instant the exchange has answered, where the newest candle's bucket ends (both
    None where there is none), and how long the pauses between candles usually are at most."""

    answered_through: datetime | None
    last_candle_end: datetime | None
    usual_pause: timedelta


def read_recency(store: "ParquetStore", series: Series, now: datetime) -> Recency:
    """By listing the newest month's blobs. Raises StorageError."""
    days = _newest(store, series, raw_candles.KIND, raw_candles.PARTITION, now)
    ledgers = _newest(store, series, candle_coverage.KIND, candle_coverage.PARTITION, now)
    last = max(_times(days, "last_candle"), default=None)
    pauses = [float(blob.fields.get("usual_pause", 0)) for blob in ledgers]
    return Recency(
        max(_times(days, "answered_through"), default=None),
        last and last + series.granularity.delta,
        timedelta(seconds=max(pauses, default=0)),
    )


def judge(
    recency: Recency, windows: FreshnessWindows, now: datetime
) -> Mapping[str, tuple[dg.AssetCheckSeverity | None, str]]:
    """Of each check how bad it is, None if it passes, and what was found."""
    allowed = windows.warn + 2 * recency.usual_pause
    behind, age = (
        None if time is None else max(now - time, timedelta(0))
        for time in (recency.answered_through, recency.last_candle_end)
    )
    severity = None
    if behind is None or behind > windows.fail:
        severity = dg.AssetCheckSeverity.ERROR
    elif behind > windows.warn:
        severity = dg.AssetCheckSeverity.WARN
    late = age is None or age > allowed
    return {
        ANSWERS: (severity, _sentence("the exchange last answered", behind, windows.warn)),
        CANDLES: (
            dg.AssetCheckSeverity.WARN if late else None,
            _sentence("the newest candle ended", age, allowed),
        ),
    }


def build_recency_checks(series: Series, windows: FreshnessWindows) -> dg.AssetChecksDefinition:
    """The checks of a series, on its raw candles."""
    key = dg.AssetKey(series.asset_key(raw_candles.KIND))

    @dg.multi_asset_check(
        name=f"{'__'.join(key.path)}__recency".replace("-", "_"),
        specs=[
            dg.AssetCheckSpec(name, asset=key, description=text)
            for name, text in _DESCRIPTIONS.items()
        ],
        can_subset=True,
    )
    def recency_checks(
        context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[AzureParquetIOManager]
    ) -> Iterator[dg.AssetCheckResult]:
        wanted = {check.name for check in context.selected_asset_check_keys}
        for name, (severity, found) in _judged(lake.store, series, windows).items():
            if name in wanted:
                yield dg.AssetCheckResult(
                    asset_key=key,
                    check_name=name,
                    passed=severity is None,
                    severity=severity or dg.AssetCheckSeverity.WARN,
                    description=found,
                    metadata=_thresholds(windows),
                )

    return recency_checks


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
            for name, (severity, found) in _judged(lake.store, series, window).items():
                if found == _NOTHING and is_new:
                    continue
                state, check = severity.value if severity else "", f"{series} {name}"
                before = told.get(check)
                due = not before or now - datetime.fromisoformat(before[1]) > _TOLD_AGAIN_AFTER
                if due or (before and before[0] != state):
                    told[check] = [state, now.isoformat()]
                    events.append(_evaluation(series, name, severity, found, window))
        return dg.SensorResult(asset_events=events, cursor=json.dumps(told))

    return recency_sensor


def _judged(
    store: "ParquetStore", series: Series, windows: FreshnessWindows
) -> Mapping[str, tuple[dg.AssetCheckSeverity | None, str]]:
    """What cannot be told is as bad as what is late."""
    now = datetime.now(UTC)
    try:
        return judge(read_recency(store, series, now), windows, now)
    except StorageError as error:
        return dict.fromkeys(CHECKS, (dg.AssetCheckSeverity.ERROR, f"cannot be told: {error}"))


def _evaluation(
    series: Series,
    name: str,
    severity: dg.AssetCheckSeverity | None,
    found: str,
    windows: FreshnessWindows,
) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(series.asset_key(raw_candles.KIND)),
        check_name=name,
        passed=severity is None,
        severity=severity or dg.AssetCheckSeverity.WARN,
        description=found,
        metadata=_thresholds(windows),
    )


def _thresholds(windows: FreshnessWindows) -> Mapping[str, dg.MetadataValue]:
    return {
        "warn_after_seconds": dg.MetadataValue.int(int(windows.warn.total_seconds())),
        "fail_after_seconds": dg.MetadataValue.int(int(windows.fail.total_seconds())),
    }


def _newest(
    store: "ParquetStore", series: Series, kind: str, partition: str, now: datetime
) -> Sequence[StoredBlob]:
    """The blobs of the newest month that has one; seldom more than a month is listed."""
    folder = f"{series.blob_folder(kind)}{partition}="
    last_month = now.replace(day=1) - timedelta(days=1)
    for prefix in (f"{folder}{now:%Y-%m}", f"{folder}{last_month:%Y-%m}", folder):
        if blobs := store.list(prefix):
            return list(blobs.values())
    return []


def _times(blobs: Sequence[StoredBlob], field: str) -> list[datetime]:
    found = (blob.fields.get(field) for blob in blobs)
    return [datetime.fromisoformat(text) for text in found if text]


def _sentence(what: str, age: timedelta | None, allowed: timedelta) -> str:
    if age is None:
        return _NOTHING
    return f"{what} {str(age).split('.')[0]} ago, {allowed} is usual at most"
