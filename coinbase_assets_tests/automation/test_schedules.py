"""The runs that the schedules request, on a Dagster instance on disk."""

from datetime import UTC, date, datetime

import dagster as dg
import pytest
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
)

from coinbase_assets.automation.rebuild_sensors import monthly_assets
from coinbase_assets.automation.schedules import (
    build_candle_chart_schedule,
    build_live_candles_schedule,
    build_settle_candles_schedule,
)
from coinbase_assets.candles.series import Series
from coinbase_assets.dagster_instance.deployment import OWN
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.running import collect_raw, land, partition_metadata, settings_for
from coinbase_assets_tests.stand_in.exchange import StandInExchange

START = date(2018, 1, 1)
NOON = datetime(2026, 3, 15, 12, 0, tzinfo=UTC)


def series_of(*texts: str) -> list[Series]:
    return [Series.parse(text) for text in texts]


ETH = series_of("ETH-EUR:15m")


def tick(
    instance: dg.DagsterInstance, at: datetime, series: list[Series] = ETH, start: date = START
) -> dg.RunRequest | str:
    """Return the requested run, or the reason why there is none."""
    return tick_of(build_live_candles_schedule(series, start), instance, at)


def tick_of(
    schedule: dg.ScheduleDefinition, instance: dg.DagsterInstance, at: datetime
) -> dg.RunRequest | str:
    context = dg.build_schedule_context(instance, scheduled_execution_time=at)
    data = schedule.evaluate_tick(context)
    if not data.run_requests:
        return str(data.skip_message)
    (request,) = data.run_requests
    return request


def days(request: dg.RunRequest | str) -> tuple[str, str]:
    assert isinstance(request, dg.RunRequest)
    tags = request.tags
    return tags[ASSET_PARTITION_RANGE_START_TAG], tags[ASSET_PARTITION_RANGE_END_TAG]


def products(request: dg.RunRequest | str) -> list[str]:
    assert isinstance(request, dg.RunRequest)
    return ["/".join(key.path) for key in request.asset_selection or []]


@pytest.mark.parametrize(
    ("series", "cron"),
    [
        (["ETH-EUR:15m"], "*/15 * * * *"),
        (["ETH-EUR:1d", "ETH-EUR:1h"], "*/15 * * * *"),
        (["ETH-EUR:5m", "ETH-EUR:15m"], "*/5 * * * *"),
        (["ETH-EUR:1m"], "*/1 * * * *"),
    ],
)
def test_live_schedule_cron_follows_finest_series(series: list[str], cron: str) -> None:
    schedule = build_live_candles_schedule(series_of(*series), START)
    assert schedule.cron_schedule == cron
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING


def test_live_schedule_one_run_for_all_series(instance: dg.DagsterInstance) -> None:
    series = series_of("ETH-EUR:15m", "BTC-USD:1m", "BTC-USD:1d")
    assert products(tick(instance, NOON, series)) == [
        "ETH-EUR/15m/raw_candles",
        "BTC-USD/1m/raw_candles",
        "BTC-USD/1d/raw_candles",
    ]


@pytest.mark.parametrize(
    ("minute", "due"),
    [(1, ["1m"]), (5, ["1m", "5m"]), (30, ["1m", "5m", "15m", "1h"])],
)
def test_live_schedule_due_series_by_minute(
    instance: dg.DagsterInstance, minute: int, due: list[str]
) -> None:
    series = series_of(*(f"ETH-EUR:{granularity}" for granularity in ("1m", "5m", "15m", "1h")))
    asked = products(tick(instance, NOON.replace(minute=minute), series))
    assert [key.split("/")[1] for key in asked] == due


@pytest.mark.parametrize(
    ("hour", "minute", "first"),
    [(12, 0, "15"), (0, 0, "14"), (0, 15, "14"), (0, 30, "15"), (23, 45, "15")],
)
def test_live_schedule_includes_day_before_until_half_past_midnight(
    instance: dg.DagsterInstance, hour: int, minute: int, first: str
) -> None:
    land(instance, ETH[0], "2026-03-14", "2026-03-15")
    at = NOON.replace(hour=hour, minute=minute)
    assert days(tick(instance, at)) == (f"2026-03-{first}", "2026-03-15")


@pytest.mark.parametrize(
    ("collected", "first"),
    [
        (["2026-03-15"], "2026-03-15"),
        (["2026-03-11", "2026-03-12"], "2026-03-12"),
        (["2026-03-08"], "2026-03-08"),
        (["2026-03-07"], "2026-03-15"),
        ([], "2026-03-15"),
    ],
)
def test_live_schedule_catches_up_a_week(
    instance: dg.DagsterInstance, collected: list[str], first: str
) -> None:
    land(instance, ETH[0], *collected)
    assert days(tick(instance, NOON)) == (first, "2026-03-15")


def test_live_schedule_starts_at_series_furthest_behind(instance: dg.DagsterInstance) -> None:
    series = series_of("ETH-EUR:15m", "BTC-EUR:15m")
    land(instance, series[0], "2026-03-15")
    land(instance, series[1], "2026-03-13")
    assert days(tick(instance, NOON, series)) == ("2026-03-13", "2026-03-15")


def test_live_schedule_not_before_start(instance: dg.DagsterInstance) -> None:
    midnight = NOON.replace(hour=0)
    assert days(tick(instance, midnight, start=NOON.date())) == ("2026-03-15", "2026-03-15")


@pytest.mark.parametrize("status", ["NOT_STARTED", "STARTING", "STARTED", "CANCELING"])
def test_live_schedule_skips_while_last_refresh_runs(
    instance: dg.DagsterInstance, status: str
) -> None:
    @dg.job
    def some_job() -> None:
        """Any job."""

    request = tick(instance, NOON)
    assert isinstance(request, dg.RunRequest)
    run = instance.create_run_for_job(
        some_job, tags=dict(request.tags), status=dg.DagsterRunStatus[status]
    )
    assert "has not ended yet" in str(tick(instance, NOON))
    instance.report_run_failed(run)
    assert days(tick(instance, NOON)) == ("2026-03-15", "2026-03-15")


def test_live_schedule_ignores_other_runs(instance: dg.DagsterInstance) -> None:
    @dg.job
    def some_job() -> None:
        """Any job."""

    instance.create_run_for_job(some_job, tags={"dagster/backfill": "abc"})
    assert days(tick(instance, NOON)) == ("2026-03-15", "2026-03-15")


def test_live_schedule_run_tags(instance: dg.DagsterInstance) -> None:
    request = tick(instance, NOON)
    assert isinstance(request, dg.RunRequest)
    assert int(request.tags["dagster/priority"]) > 0
    assert int(request.tags["dagster/max_runtime"]) <= 900
    assert request.tags["dagster/max_retries"] == "0"


# Settling


def settling(
    instance: dg.DagsterInstance, at: datetime, start: date = START
) -> dg.RunRequest | str:
    series = series_of("ETH-EUR:15m", "BTC-USD:1d")
    return tick_of(build_settle_candles_schedule(series, start), instance, at)


def test_settle_schedule_last_two_closed_days(instance: dg.DagsterInstance) -> None:
    request = settling(instance, NOON.replace(hour=0, minute=40))
    assert days(request) == ("2026-03-13", "2026-03-14")
    assert products(request) == ["ETH-EUR/15m/raw_candles", "BTC-USD/1d/raw_candles"]
    assert isinstance(request, dg.RunRequest)
    assert "coinbase_assets/live" not in request.tags
    assert request.tags["dagster/max_retries"] == "3"


def test_settle_schedule_settles_day_at_second_time(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    """Collect the days that the schedule requests, at its times."""
    with StandInExchange(rate=None) as exchange:
        settings = settings_for(exchange.url, "ETH-EUR:15m")
        schedule = build_settle_candles_schedule(settings.series, START)
        settled = []
        for day in (15, 16):
            at = datetime(2026, 3, day, 0, 40, tzinfo=UTC)
            exchange.clock = at.timestamp
            result = collect_raw(settings, instance, *days(tick_of(schedule, instance, at)))
            settled.append(partition_metadata(result)["2026-03-14"]["settled"])
    assert settled == [False, True]


def test_settle_schedule_not_before_start(instance: dg.DagsterInstance) -> None:
    assert days(settling(instance, NOON, date(2026, 3, 14))) == ("2026-03-14", "2026-03-14")
    assert "No day since 2026-03-15" in str(settling(instance, NOON, NOON.date()))


# Drawing


def test_chart_schedule_hourly_in_one_run(
    instance: dg.DagsterInstance,
) -> None:
    series = series_of("ETH-EUR:15m", "BTC-USD:1d")
    schedule = build_candle_chart_schedule(series)
    assert schedule.cron_schedule == "20 * * * *"
    request = tick_of(schedule, instance, NOON)
    assert products(request) == ["ETH-EUR/15m/candle_chart", "BTC-USD/1d/candle_chart"]
    assert isinstance(request, dg.RunRequest)
    assert request.tags["dagster/max_retries"] == "3"


def test_chart_is_not_a_monthly_asset() -> None:
    kinds = {key.path[-1] for key in monthly_assets(OWN, ETH, with_halts=True)}
    assert kinds == {"candle_history", "candle_coverage", "market_halts"}
