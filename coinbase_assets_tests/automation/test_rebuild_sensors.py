"""The rebuild sensors' ticks, on a Dagster instance on disk."""

from collections.abc import Iterable, Mapping
from datetime import date, timedelta

import dagster as dg
import pytest
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
)

from coinbase_assets.assets.partitions import MONTHS_PER_RUN
from coinbase_assets.automation.rebuild_sensors import (
    build_candle_history_sensor,
    build_candle_rollup_sensor,
)
from coinbase_assets.candles.datasets import CANDLE_HISTORY
from coinbase_assets.candles.series import Series
from coinbase_assets.environment.setting_values import parse_rollups
from coinbase_assets_tests.running import land

ETH, BTC, LTC = (Series.parse(f"{product}-EUR:15m") for product in ("ETH", "BTC", "LTC"))

Launch = tuple[set[str], str, str]


def days_of(first: str, last: str) -> Iterable[str]:
    day = date.fromisoformat(first)
    while day <= date.fromisoformat(last):
        yield str(day)
        day += timedelta(days=1)


class Ticks:
    """Ticks of the history sensor, each with the cursor of the tick before."""

    def __init__(
        self, instance: dg.DagsterInstance, *series: Series, start: date = date(2018, 1, 1)
    ) -> None:
        self._instance = instance
        self._sensor = build_candle_history_sensor(series, start)
        self.cursor: str | None = None

    def __call__(self) -> list[dg.RunRequest]:
        context = dg.build_sensor_context(self._instance, cursor=self.cursor)
        data = self._sensor.evaluate_tick(context)
        self.cursor = data.cursor
        self.skip_message = data.skip_message
        return list(data.run_requests or [])

    def launches(self) -> list[Launch]:
        return [launch(request) for request in self()]


def launch(request: dg.RunRequest) -> Launch:
    """Return the products, the first and the last month of a request."""
    products: dict[str, set[str]] = {}
    for key in request.asset_selection or []:
        products.setdefault(key.path[-1], set()).update(key.path[:-1][:1])
    assert products.keys() == {"candle_history", "candle_coverage", "market_halts"}
    assert products["candle_history"] == products["candle_coverage"]
    months = [
        request.tags[tag]
        for tag in (ASSET_PARTITION_RANGE_START_TAG, ASSET_PARTITION_RANGE_END_TAG)
    ]
    return products["candle_history"], months[0], months[1]


@pytest.fixture
def ticks(instance: dg.DagsterInstance) -> Ticks:
    return Ticks(instance, ETH, BTC, LTC)


def test_history_sensor_skips_without_new_data(ticks: Ticks, instance: dg.DagsterInstance) -> None:
    assert ticks.launches() == []
    assert "All months are up to date" in str(ticks.skip_message)
    land(instance, ETH, "2024-01-01")
    assert ticks.launches()
    assert ticks.launches() == []
    assert "All months are up to date" in str(ticks.skip_message)


def test_history_sensor_rebuilds_touched_months(ticks: Ticks, instance: dg.DagsterInstance) -> None:
    land(instance, ETH, "2024-01-31", "2024-02-01", "2024-05-09", "2023-12-31")
    assert ticks.launches() == [
        ({"ETH-EUR"}, "2023-12", "2024-02"),
        ({"ETH-EUR"}, "2024-05", "2024-05"),
    ]


@pytest.mark.soak
def test_history_sensor_one_run_for_many_partitions(
    ticks: Ticks, instance: dg.DagsterInstance
) -> None:
    for series in (ETH, BTC):
        land(instance, series, *days_of("2024-01-01", "2024-06-30"))
    assert ticks.launches() == [({"ETH-EUR", "BTC-EUR"}, "2024-01", "2024-06")]


def test_history_sensor_shares_run_for_same_range(
    ticks: Ticks, instance: dg.DagsterInstance
) -> None:
    for series, *days in (
        (ETH, "2024-01-01"),
        (BTC, "2024-01-02"),
        (LTC, "2024-01-31", "2024-02-01"),
    ):
        land(instance, series, *days)
    assert ticks.launches() == [
        ({"ETH-EUR", "BTC-EUR"}, "2024-01", "2024-01"),
        ({"LTC-EUR"}, "2024-01", "2024-02"),
    ]


def test_history_sensor_splits_long_range(ticks: Ticks, instance: dg.DagsterInstance) -> None:
    months = [f"{2020 + n // 12}-{n % 12 + 1:02}" for n in range(2 * MONTHS_PER_RUN + 1)]
    land(instance, ETH, *(f"{month}-15" for month in months))
    cut = [months[:MONTHS_PER_RUN], months[MONTHS_PER_RUN:-1], months[-1:]]
    assert ticks.launches() == [({"ETH-EUR"}, run[0], run[-1]) for run in cut]


def test_history_sensor_rebuilds_month_again(ticks: Ticks, instance: dg.DagsterInstance) -> None:
    keys = []
    for _ in range(2):
        land(instance, ETH, "2024-01-01")
        (request,) = ticks()
        keys.append(request.run_key)
    assert len(set(keys)) == 2


def test_history_sensor_repeated_tick_same_run_keys(
    ticks: Ticks, instance: dg.DagsterInstance
) -> None:
    """The daemon may die before it has stored the cursor."""
    land(instance, ETH, "2024-01-01")
    before = ticks.cursor
    first = ticks()
    ticks.cursor = before
    assert [request.run_key for request in ticks()] == [request.run_key for request in first]


def test_history_sensor_leaves_days_stored_during_tick_to_next(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day of any series that is recorded between the sensor's queries must not be lost."""
    ticks = Ticks(instance, ETH, BTC)
    land(instance, ETH, "2024-01-01")
    query = type(instance).get_latest_storage_id_by_partition
    later = iter([(ETH, "2024-02-01"), (BTC, "2024-03-01")])

    def query_while_days_land(*arguments: object, **options: object) -> Mapping[str, int]:
        storage_ids = query(*arguments, **options)  # type: ignore[arg-type]
        for series, day in later:
            land(instance, series, day)
        return storage_ids

    monkeypatch.setattr(type(instance), "get_latest_storage_id_by_partition", query_while_days_land)
    assert ticks.launches() == [({"ETH-EUR"}, "2024-01", "2024-01")]
    assert sorted(ticks.launches(), key=str) == sorted(
        [({"ETH-EUR"}, "2024-02", "2024-02"), ({"BTC-EUR"}, "2024-03", "2024-03")], key=str
    )


def test_history_sensor_ignores_unconfigured_series(
    instance: dg.DagsterInstance,
) -> None:
    land(instance, LTC, "2024-01-01")
    assert Ticks(instance, ETH).launches() == []


def rollup_launches(
    instance: dg.DagsterInstance,
    rollups: str,
    cursor: str | None = None,
    start: date = date(2018, 1, 1),
) -> tuple[list[tuple[str, str, str]], str | None]:
    """Return a tick's runs (granularities, first and last month) and its cursor."""
    sensor = build_candle_rollup_sensor(parse_rollups(rollups), start)
    tick = sensor.evaluate_tick(dg.build_sensor_context(instance, cursor=cursor))
    launches = [
        (
            " ".join(key.path[1] for key in request.asset_selection or []),
            request.tags[ASSET_PARTITION_RANGE_START_TAG],
            request.tags[ASSET_PARTITION_RANGE_END_TAG],
        )
        for request in tick.run_requests or []
    ]
    return launches, tick.cursor


def land_history(instance: dg.DagsterInstance, *months: str) -> None:
    key = dg.AssetKey(CANDLE_HISTORY.asset_key(ETH))
    for month in months:
        instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=month))


def test_sensors_leave_months_before_a_moved_start(instance: dg.DagsterInstance) -> None:
    """COINBASE_START was moved forward before the sensors saw these partitions."""
    moved = date(2024, 3, 10)
    land(instance, ETH, "2024-02-28", "2024-03-02", "2024-03-11")
    assert Ticks(instance, ETH, BTC, LTC, start=moved).launches() == [
        ({"ETH-EUR"}, "2024-03", "2024-03")
    ]
    assert Ticks(instance, ETH, BTC, LTC, start=date(2024, 4, 1)).launches() == []
    land_history(instance, "2024-02", "2024-03")
    launches, _ = rollup_launches(instance, "ETH-EUR:15m>1h,1w", start=moved)
    assert launches == [("1h 1w", "2024-03", "2024-03")]


def test_rollup_sensor_follows_history(instance: dg.DagsterInstance) -> None:
    land_history(instance, "2024-03", "2024-05")
    launches, cursor = rollup_launches(instance, "ETH-EUR:15m>1h,4h;BTC-EUR:15m>1h")
    assert launches == [("1h 4h", "2024-03", "2024-03"), ("1h 4h", "2024-05", "2024-05")]
    assert rollup_launches(instance, "ETH-EUR:15m>1h,4h;BTC-EUR:15m>1h", cursor)[0] == []


def test_rollup_sensor_rebuilds_week_in_its_first_month(
    instance: dg.DagsterInstance,
) -> None:
    land_history(instance, "2024-01", "2024-02", "2024-04")
    launches, cursor = rollup_launches(instance, "ETH-EUR:15m>1w")
    # March has no history, so it is not rebuilt.
    assert launches == [("1w", "2024-01", "2024-02"), ("1w", "2024-04", "2024-04")]
    land_history(instance, "2024-02")
    launches, cursor = rollup_launches(instance, "ETH-EUR:15m>1d,1w", cursor)
    assert launches == [("1d", "2024-02", "2024-02"), ("1w", "2024-01", "2024-02")]
    # January 2024 begins on a Monday, so no week begins in the month before.
    land_history(instance, "2024-01")
    assert rollup_launches(instance, "ETH-EUR:15m>1d,1w", cursor)[0] == [
        ("1d 1w", "2024-01", "2024-01")
    ]


def test_history_sensor_retries_failed_run(ticks: Ticks, instance: dg.DagsterInstance) -> None:
    land(instance, ETH, "2024-01-01")
    (request,) = ticks()
    assert request.tags["dagster/max_retries"] == "3"
    assert request.tags["dagster/retry_on_asset_or_op_failure"] == "true"
