"""Ticks of the sensor that requests months by the lake's inventory, on real blobs."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta

import dagster as dg
import pytest
from azure.storage.blob import ContainerClient

from coinbase_assets.automation.stale_months_sensor import STALE_MONTHS_SENSOR
from coinbase_assets.definitions import build_definitions
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.lake.test_damage import (
    DAY,
    DAYS,
    HISTORY,
    LEDGER,
    MONTH,
    ROLLUP,
    ROLLUPS,
    SERIES,
    Lake,
    collected,
    content,
    damaged,
    deleted,
    half,
    status_of,
)
from coinbase_assets_tests.running import asset_job, collect_raw, settings_for
from coinbase_assets_tests.stand_in.exchange import StandInExchange

__all__ = ["collected", "damaged"]

BUILT = ["ETH-EUR/1h/candle_history", "ETH-EUR/1h/candle_coverage"]
ROLLED_UP = ["ETH-EUR/6h/candle_rollup"]
Launch = tuple[str, list[str], str, str]
HISTORY_OF_JANUARY = ("build_history", BUILT, "2024-01", "2024-01")
ROLLUP_OF_JANUARY = ("build_rollups", ROLLED_UP, "2024-01", "2024-01")


class Ticks:
    """Ticks of the sensor, each with the cursor of the tick before, and a quarter of an hour on."""

    def __init__(
        self, instance: dg.DagsterInstance, *series: str, url: str = "http://127.0.0.1:1"
    ) -> None:
        settings = settings_for(url, *(series or [str(SERIES)]))
        self.settings = settings.model_copy(update={"rollups": ROLLUPS})
        self._instance = instance
        definitions = build_definitions(self.settings)
        self._lake = (definitions.resources or {})["lake"]
        self._sensor = definitions.get_repository_def().get_sensor_def(STALE_MONTHS_SENSOR)
        self.cursor: str | None = None

    def __call__(self, later: timedelta = timedelta(minutes=15)) -> Sequence[dg.RunRequest]:
        if self.cursor:
            turn, last = json.loads(self.cursor)
            self.cursor = json.dumps([turn, str(datetime.fromisoformat(last) - later)])
        with dg.build_sensor_context(
            self._instance, cursor=self.cursor, resources={"lake": self._lake}
        ) as context:
            tick = self._sensor.evaluate_tick(context)
        self.cursor, self.skip_message = tick.cursor, tick.skip_message
        return tick.run_requests or []

    def launches(self) -> list[Launch]:
        return [launch(request) for request in self()]

    def execute(self) -> list[Launch]:
        """Execute what a tick requests."""
        requests = self()
        for request in requests:
            asset_job(self.settings).execute_in_process(
                instance=self._instance,
                asset_selection=request.asset_selection,
                tags=request.tags,
                run_config=request.run_config,
            )
        return [*map(launch, requests)]


def launch(request: dg.RunRequest) -> Launch:
    """Return the job, the assets, the first and the last month of a request."""
    first, last = (
        request.tags[f"dagster/asset_partition_range_{each}"] for each in ("start", "end")
    )
    keys = [key.to_user_string() for key in request.asset_selection or []]
    return str(request.job_name), keys, first, last


@pytest.fixture
def ticks(damaged: ContainerClient, instance: dg.DagsterInstance) -> Ticks:
    """Dagster has no event of anything."""
    return Ticks(instance)


def test_sound_lake_needs_no_month(ticks: Ticks) -> None:
    assert ticks.launches() == []
    assert ticks.skip_message == "All months of ETH-EUR:1h are up to date"


STALE = {
    "history deleted": (deleted(MONTH), HISTORY_OF_JANUARY),
    "history truncated": (content(MONTH, half), HISTORY_OF_JANUARY),
    "ledger deleted": (deleted(LEDGER.format("2024-01")), HISTORY_OF_JANUARY),
    "rollup deleted": (deleted(ROLLUP.format("2024-01")), ROLLUP_OF_JANUARY),
}


@pytest.mark.parametrize("name", STALE)
def test_stale_month_is_built_without_an_event(
    name: str, ticks: Ticks, damaged: ContainerClient, lake: ParquetStore, collected: Lake
) -> None:
    damage, wanted = STALE[name]
    damage(damaged, collected)
    assert ticks.execute() == [wanted]
    assert status_of(damaged, lake).damage == []
    assert ticks.launches() == []


def test_month_is_requested_with_one_key_until_it_is_built(
    ticks: Ticks, damaged: ContainerClient
) -> None:
    damaged.delete_blob(MONTH)
    (first,), (again,) = ticks(), ticks()
    assert first.run_key == again.run_key
    damaged.delete_blob(HISTORY.format("2024-02"))
    (both,) = ticks()
    assert launch(both)[2:] == ("2024-01", "2024-02")
    assert both.run_key != first.run_key


def test_month_with_a_lost_day_is_left_as_it_is(ticks: Ticks, damaged: ContainerClient) -> None:
    """It has the only copy of the day's candles."""
    damaged.delete_blob(DAY)
    damaged.delete_blob(HISTORY.format("2024-02"))
    assert ticks.launches() == [("build_history", BUILT, "2024-02", "2024-02")]


def test_days_of_a_moment_ago_are_left_to_the_history_sensor(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    with StandInExchange(rate=None) as exchange:
        ticks = Ticks(instance, url=exchange.url)
        collect_raw(ticks.settings, instance, DAYS[0], DAYS[-1])
    assert ticks.launches() == []


def test_series_take_turns_and_each_waits_a_quarter_of_an_hour(
    damaged: ContainerClient, instance: dg.DagsterInstance
) -> None:
    damaged.delete_blob(MONTH)
    ticks = Ticks(instance, "BTC-EUR:1h", str(SERIES), "LTC-EUR:1h")
    found = [len(ticks(timedelta(minutes=minutes))) for minutes in (0, 6, 4, 2, 6, 6, 6)]
    assert found == [0, 1, 0, 0, 0, 1, 0]
