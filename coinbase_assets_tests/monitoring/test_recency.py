"""How far a series is behind the exchange, by its blobs, and the sensor that reports it."""

import json
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from coinbase_assets.candles.calendar import DAY
from coinbase_assets.candles.datasets import CANDLE_COVERAGE, RAW_CANDLES
from coinbase_assets.candles.days import Day
from coinbase_assets.candles.series import Series
from coinbase_assets.definitions import build_definitions
from coinbase_assets.lake.inventory import inspect
from coinbase_assets.lake.recency import Recency, read_recency, recency_of
from coinbase_assets.monitoring.freshness import FreshnessWindows, freshness_windows
from coinbase_assets.monitoring.recency import ANSWERS, CANDLES, judge
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.candles.test_days import candles
from coinbase_assets_tests.running import settings_for

SERIES = Series.parse("ETH-EUR:1h")
NOW = datetime(2024, 3, 10, 12, tzinfo=UTC)
WINDOWS = FreshnessWindows(timedelta(minutes=90), timedelta(minutes=165))
MINUTE = timedelta(minutes=1)


def store_day(store: ParquetStore, start: datetime, hours: int, through: datetime) -> None:
    first = int((start - datetime(2024, 1, 1, tzinfo=UTC)) / timedelta(hours=1))
    table = candles(range(first, first + hours))
    day = Day(SERIES, start, table, through, through, start, through, 1)
    path = RAW_CANDLES.path(SERIES).format(partition=f"{start:%F}")
    store.put(path, day.to_table(""), store.find([path]).get(path))


@pytest.mark.parametrize(
    ("series", "warn", "fail"),
    [
        ("ETH-EUR:15m", 45, 120),
        ("ETH-EUR:1m", 5, 15),
        ("ETH-EUR:5m", 15, 40),
        ("ETH-EUR:1h", 90, 165),
        ("ETH-EUR:1d", 24 * 60 + 30, 24 * 60 + 105),
    ],
)
def test_freshness_windows_by_granularity(series: str, warn: int, fail: int) -> None:
    windows = freshness_windows(Series.parse(series))
    assert (windows.warn, windows.fail) == (warn * MINUTE, fail * MINUTE)


@pytest.mark.parametrize(
    ("warn", "fail", "windows"),
    [(3, 9, (3, 9)), (None, 60, (30, 60)), (None, 600, (45, 600)), (240, None, (240, 480))],
)
def test_freshness_windows_by_settings(
    warn: int | None, fail: int | None, windows: tuple[int, int]
) -> None:
    wanted = [value * MINUTE if value else None for value in (warn, fail)]
    found = freshness_windows(Series.parse("ETH-EUR:15m"), *wanted)
    assert (found.warn, found.fail) == (windows[0] * MINUTE, windows[1] * MINUTE)


@pytest.mark.parametrize(
    ("behind", "severity"),
    [
        (0, None),
        (90, None),
        (91, dg.AssetCheckSeverity.WARN),
        (165, dg.AssetCheckSeverity.WARN),
        (166, dg.AssetCheckSeverity.ERROR),
    ],
)
def test_judge_answers_late_then_stale(behind: int, severity: dg.AssetCheckSeverity | None) -> None:
    recency = Recency(NOW - behind * MINUTE, NOW, timedelta(0))
    assert judge(recency, WINDOWS, NOW)[ANSWERS][0] == severity


@pytest.mark.parametrize(
    ("age", "pause", "warns"), [(90, 0, False), (91, 0, True), (91, 1, False), (211, 60, True)]
)
def test_judge_old_candle_warns_beyond_usual_pause(age: int, pause: int, warns: bool) -> None:
    recency = Recency(NOW, NOW - age * MINUTE, pause * MINUTE)
    judged = judge(recency, WINDOWS, NOW)
    assert judged[ANSWERS][0] is None
    assert judged[CANDLES][0] == (dg.AssetCheckSeverity.WARN if warns else None)


def test_verdicts_have_ages_to_plot_and_limits_in_words() -> None:
    verdicts = judge(Recency(NOW - 100 * MINUTE, NOW - 7.55 * MINUTE, 60 * MINUTE), WINDOWS, NOW)
    assert verdicts[ANSWERS].metadata == {
        "age_minutes": dg.MetadataValue.float(100.0),
        "warn_after": dg.MetadataValue.text("1 hour 30 minutes"),
        "fail_after": dg.MetadataValue.text("2 hours 45 minutes"),
    }
    assert verdicts[CANDLES].metadata == {
        "age_minutes": dg.MetadataValue.float(7.5),
        "warn_after": dg.MetadataValue.text("3 hours 30 minutes"),
    }
    assert verdicts[ANSWERS].found == (
        "the exchange last answered 1 hour 40 minutes ago; more than 1 hour 30 minutes is late"
    )


def test_verdict_of_this_moment_has_age_0() -> None:
    verdict = judge(Recency(NOW, NOW, 0 * MINUTE), WINDOWS, NOW)[ANSWERS]
    assert verdict.metadata["age_minutes"] == dg.MetadataValue.float(0.0)


def test_verdict_on_nothing_has_no_age() -> None:
    nothing = judge(Recency(None, None, 0 * MINUTE), WINDOWS, NOW)
    assert all("age_minutes" not in verdict.metadata for verdict in nothing.values())


def test_recency_ignores_older_days_stored_later(lake: ParquetStore) -> None:
    def recency(now: datetime) -> Recency:
        """Return the recency by listings of months, which is that of the whole inventory."""
        stocks = inspect(lake, SERIES).stocks
        days, ledgers = (stocks[each].by_key for each in (RAW_CANDLES, CANDLE_COVERAGE))
        found = read_recency(lake, SERIES, now)
        assert found == recency_of(SERIES, days, ledgers, now)
        return found

    assert recency(NOW) == Recency(None, None, timedelta(0))
    today = NOW.replace(hour=0)
    store_day(lake, today, 9, NOW - 60 * MINUTE)
    expected = Recency(NOW - 60 * MINUTE, today + timedelta(hours=9), timedelta(0))
    assert recency(NOW) == expected
    store_day(lake, today - 5 * DAY, 24, today - 4 * DAY)
    assert recency(NOW) == expected
    assert recency(NOW + 200 * DAY) == expected


def test_recency_sensor_reports_changes(lake: ParquetStore, instance: dg.DagsterInstance) -> None:
    settings = settings_for("http://127.0.0.1:1", "ETH-EUR:1h")
    repository = build_definitions(settings).get_repository_def()
    sensor = repository.get_sensor_def("recency_sensor")

    def tick(cursor: str | None) -> tuple[dict[str, tuple[bool, str, float]], str | None]:
        with dg.build_sensor_context(
            instance=instance,
            repository_def=repository,
            cursor=cursor,
            resources={"lake": repository.get_top_level_resources()["lake"]},
        ) as context:
            result = sensor.evaluate_tick(context)
        results = {
            event.check_name: (
                event.passed,
                event.severity.value,
                float(str(event.metadata["age_minutes"].value)),
            )
            for event in result.asset_events
            if isinstance(event, dg.AssetCheckEvaluation)
        }
        return results, result.cursor

    results, cursor = tick(None)
    assert results == {}  # Nothing is collected yet, and the sensor has just begun.
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    late = now - timedelta(minutes=100)
    store_day(lake, late.replace(hour=0, minute=0), 0, late)
    results, cursor = tick(cursor)
    assert results[ANSWERS][0] is False
    assert results[ANSWERS][2] >= 100
    results, cursor = tick(cursor)
    assert results == {}
    store_day(lake, now.replace(hour=0), now.hour, now)
    results, cursor = tick(cursor)
    assert results[ANSWERS][:2] == (True, "WARN")
    assert json.loads(cursor or "")["ETH-EUR:1h answers_are_recent"][0] == ""
