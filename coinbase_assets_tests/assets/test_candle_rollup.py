"""Rollups, run by Dagster on Azurite: what is rebuilt, and that it equals the exchange's."""

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest

from coinbase_assets import read_candles_arrow
from coinbase_assets.automation.collector import Collector
from coinbase_assets.automation.rebuild_sensors import CANDLE_HISTORY_SENSOR, CANDLE_ROLLUP_SENSOR
from coinbase_assets.candles.datasets import CANDLE_HISTORY, CANDLE_ROLLUP
from coinbase_assets.candles.table import SCHEMA
from coinbase_assets.dagster_instance.deployment import SILENT
from coinbase_assets.dagster_instance.run_tags import range_tags
from coinbase_assets.definitions import build_definitions
from coinbase_assets.environment.setting_values import parse_rollups
from coinbase_assets.monitoring.failed_runs import update_failures
from coinbase_assets.settings import Settings
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.running import asset_job, collect_raw, settings_for
from coinbase_assets_tests.stand_in.exchange import StandInExchange
from coinbase_assets_tests.stand_in.markets import ListMarket, Market, synthetic_markets
from coinbase_assets_tests.stand_in.tables import candle_table

CANDLES = Path(__file__).resolve().parents[3] / "shared" / "candles"


def settings_with(url: str, rollups: str, *series: str) -> Settings:
    settings = settings_for(url, *series)
    return settings.model_copy(update={"rollups": parse_rollups(rollups)})


def days_of(first: str, last: str) -> list[str]:
    begin, days = date.fromisoformat(first), date.fromisoformat(last) - date.fromisoformat(first)
    return [str(begin + timedelta(n)) for n in range(days.days + 1)]


def collect(
    settings: Settings, lake: ParquetStore, instance: dg.DagsterInstance, days: Sequence[str]
) -> None:
    collector = Collector(asset_job(settings), instance, lake)
    outcome = collector.collect(collector.plan(settings.series[0], days))
    assert (outcome.error, outcome.missing) == (None, [])


class Sensors:
    """The sensors of history and rollups, whose requested runs are executed."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self._instance = instance
        definitions = build_definitions(settings)
        self._job = definitions.resolve_implicit_global_asset_job_def()
        self._repository = definitions.get_repository_def()
        self._cursors: dict[str, str | None] = {}

    def run(self, name: str) -> list[tuple[str, str, str]]:
        """Execute a tick's runs; return their assets, with the first and the last month."""
        context = dg.build_sensor_context(
            self._instance, cursor=self._cursors.get(name), repository_def=self._repository
        )
        tick = self._repository.get_sensor_def(name).evaluate_tick(context)
        self._cursors[name] = tick.cursor
        return [launch for request in tick.run_requests or [] for launch in self._execute(request)]

    def _execute(self, request: dg.RunRequest) -> list[tuple[str, str, str]]:
        self._job.execute_in_process(
            instance=self._instance,
            asset_selection=request.asset_selection,
            tags=request.tags,
            run_config=request.run_config,
        )
        first, last = (
            request.tags[f"dagster/asset_partition_range_{end}"] for end in ("start", "end")
        )
        return [(key.to_user_string(), first, last) for key in request.asset_selection or []]


@pytest.mark.soak
def test_rollup_sensors_rebuild_touched_months_without_requests(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    with StandInExchange(rate=None) as exchange:
        settings = settings_with(exchange.url, "ETH-EUR:1h>4h,1d,1w", "ETH-EUR:1h")
        sensors = Sensors(settings, instance)
        collect_raw(settings, instance, "2023-12-25", "2024-03-31")
        asked = len(exchange.requests)
        sensors.run(CANDLE_HISTORY_SENSOR)
        hours, day, week = (f"ETH-EUR/{each}/candle_rollup" for each in ("4h", "1d", "1w"))
        everything = [(asset, "2023-12", "2024-03") for asset in (hours, day, week)]
        assert sensors.run(CANDLE_ROLLUP_SENSOR) == everything
        assert sensors.run(CANDLE_ROLLUP_SENSOR) == []

        before = {path: blob.etag for path, blob in lake.list("candle_rollup/").items()}
        collect_raw(settings, instance, "2024-02-10")
        again = len(exchange.requests)
        sensors.run(CANDLE_HISTORY_SENSOR)
        assert sensors.run(CANDLE_ROLLUP_SENSOR) == [
            (hours, "2024-02", "2024-02"),
            (day, "2024-02", "2024-02"),
            (week, "2024-01", "2024-02"),
        ]
        after = {path: blob.etag for path, blob in lake.list("candle_rollup/").items()}
        rebuilt = {tuple(path.split("/")[2:4]) for path in before if after[path] != before[path]}
        assert rebuilt == {
            ("granularity=4h", "month=2024-02"),
            ("granularity=1d", "month=2024-02"),
            ("granularity=1w", "month=2024-01"),
            ("granularity=1w", "month=2024-02"),
        }
        assert len(exchange.requests) == again > asked
        expected = exchange_candles(exchange.markets["ETH-EUR"], 14_400, "2023-12-25", "2024-04-01")
    assert_agree(
        read_candles_arrow("ETH-EUR", "4h", "2023-12-25", "2024-04-01", allow_gaps=True), expected
    )
    weeks = read_candles_arrow("ETH-EUR", "1w", "2023-12-01", "2024-05-01", allow_gaps=True)
    assert [f"{time:%F}" for time in weeks["time"].to_pylist()] == [
        str(date(2023, 12, 25) + timedelta(weeks=n)) for n in range(14)
    ]


@pytest.mark.soak
def test_rollup_collect_builds_touched_rollups_in_few_runs(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    with StandInExchange(rate=None) as exchange:
        settings = settings_with(exchange.url, "ETH-EUR:1h>4h,1w", "ETH-EUR:1h")
        collect(settings, lake, instance, days_of("2024-01-29", "2024-02-11"))
        rollup_runs = [run for run in runs(instance) if run.keys() <= {"4h", "1w"}]
        assert rollup_runs == [{"4h": MONTHS, "1w": MONTHS}]
        weeks = read_candles_arrow("ETH-EUR", "1w", "2024-01-01", "2024-03-01", allow_gaps=True)
        assert [f"{time:%F}" for time in weeks["time"].to_pylist()] == ["2024-01-29", "2024-02-05"]

        built = len(runs(instance))
        collect(settings, lake, instance, days_of("2024-01-29", "2024-02-11"))
        assert len(runs(instance)) == built

        collect(settings, lake, instance, ["2024-02-12"])
        assert runs(instance)[built + 2 :] == [{"4h": MONTHS[1:]}, {"1w": MONTHS}]


@pytest.mark.soak
def test_rollup_configured_later_is_built_from_history(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    days = days_of("2024-01-01", "2024-01-07")
    with StandInExchange(rate=None) as exchange:
        collect(settings_for(exchange.url, "ETH-EUR:1h"), lake, instance, days)
        asked = len(exchange.requests)
        settings = settings_with(exchange.url, "ETH-EUR:1h>1d", "ETH-EUR:1h")
        collect(settings, lake, instance, days)
        assert len(exchange.requests) == asked
    assert read_candles_arrow("ETH-EUR", "1d", "2024-01-01", "2024-01-08").num_rows == 7


@pytest.mark.soak
def test_rollup_missing_is_named_by_collect(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    with StandInExchange(rate=None) as exchange:
        settings = settings_with(exchange.url, "NONE-EUR:1h>4h", "NONE-EUR:1h")
        collector = Collector(asset_job(settings), instance, lake)
        outcome = collector.collect(collector.plan(settings.series[0], ["2024-01-01"]))
    assert "candle_rollup 4h 2024-01" in outcome.missing


def test_rollup_failed_run_is_a_problem_of_the_rollup(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    settings = settings_with("http://127.0.0.1:1", "ETH-EUR:1h>4h", "ETH-EUR:1h")
    path = CANDLE_HISTORY.path(settings.series[0]).format(partition="2024-01")
    lake.put(path, SCHEMA.empty_table(), None)
    began = datetime.now(UTC)
    run = asset_job(settings).execute_in_process(
        instance=instance,
        asset_selection=[dg.AssetKey(CANDLE_ROLLUP.asset_key(settings.rollups[0]))],
        tags=range_tags("2024-01", "2024-01"),
        run_config=SILENT,
        raise_on_error=False,
    )
    assert not run.success
    assert lake.list("candle_rollup/") == {}
    failures = update_failures(instance, began, {})
    assert failures["ETH-EUR:4h"].keys() == {"ETH-EUR/4h/candle_rollup"}


MONTHS = ["2024-01", "2024-02"]


def runs(instance: dg.DagsterInstance) -> list[dict[str, list[str]]]:
    """Return the months that each run materialised, by granularity, oldest run first."""
    found = []
    for run in reversed(instance.get_runs()):
        records = instance.get_records_for_run(
            run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
        ).records
        months: dict[str, list[str]] = {}
        for record in records:
            assert record.asset_key
            months.setdefault(record.asset_key.path[1], []).append(str(record.partition_key))
        found.append(months)
    return found


def recorded_or_synthetic() -> tuple[Market, str, str]:
    """Return a market with minutes and hours, the first of these hours, and the hour after them.

    The market has ten hours of the real exchange's answers if these are beside the project.
    """
    answers = {
        file.stem.removeprefix("BTC-USD_candles_2020-03-"): json.loads(file.read_text())[::-1]
        for file in (CANDLES / "responses").glob("BTC-USD_candles_2020-03-*.json")
    }
    if not answers:
        return synthetic_markets()["BTC-USD"], "2020-03-20T00", "2020-03-20T10"
    minutes = [*answers["20-00-00"], *answers["20-05-00"]]
    return ListMarket({60: minutes, 3_600: answers["09"]}), "2020-03-20T00", "2020-03-20T10"


@pytest.mark.soak
def test_rollup_hours_equal_exchange_hours(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    market, first, end = recorded_or_synthetic()
    with StandInExchange(rate=None, markets={"BTC-USD": market}) as exchange:
        settings = settings_with(exchange.url, "BTC-USD:1m>1h", "BTC-USD:1m")
        collect(settings, lake, instance, [first[:10]])
    ours = read_candles_arrow("BTC-USD", "1h", first, end)
    assert ours.num_rows == 10
    assert_agree(ours, exchange_candles(market, 3_600, first, end))


def exchange_candles(market: Market, seconds: int, first: str, end: str) -> pa.Table:
    """Return the exchange's candles of that length from `first` to before `end`."""
    times = [np.datetime64(day, "s").astype(int) for day in (first, end)]
    rows = market.candles(seconds, int(times[0]), int(times[1]) - seconds, 4e9)
    time, low, high, open_, close, volume = zip(*rows, strict=True)
    starts = [datetime.fromtimestamp(seconds, UTC) for seconds in time]
    return candle_table(starts, open=open_, high=high, low=low, close=close, volume=volume)


def assert_agree(ours: pa.Table, theirs: pa.Table, tolerance: float = 1e-9) -> None:
    """Prices must be equal. Volumes may differ by the exchange's rounding."""
    assert ours.num_rows
    assert ours.drop(["volume"]).equals(theirs.drop(["volume"]))
    np.testing.assert_allclose(
        ours["volume"].to_numpy(), theirs["volume"].to_numpy(), rtol=tolerance
    )
