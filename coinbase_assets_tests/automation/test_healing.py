"""Healing: the days that are planned, and that nothing is unexplained afterwards."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.reconstruct import ReconstructableRepository

from coinbase_assets.automation.collector import Collector
from coinbase_assets.automation.healing import plan_healing, plan_trades
from coinbase_assets.automation.plans import Plan
from coinbase_assets.candles.datasets import CANDLE_COVERAGE, CANDLE_HISTORY, RAW_CANDLES
from coinbase_assets.candles.series import Series
from coinbase_assets.completeness.ledger import State
from coinbase_assets.dagster_instance.run_tags import HEALING, WITH_TRADES
from coinbase_assets.lake.status import series_status
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.lake.test_status import store_days, store_ledger, store_listing
from coinbase_assets_tests.running import asset_job, settings_for
from coinbase_assets_tests.stand_in.exchange import StandInExchange

QUARTERS = Series.parse("ETH-EUR:15m")
HOURS, OTHER = Series.parse("ETH-EUR:1h"), Series.parse("BTC-USD:1h")
LOCATION = """
from coinbase_assets.definitions import build_definitions
from coinbase_assets.settings import load_settings
defs = build_definitions(load_settings())
"""
Heal = Callable[..., dg.JobExecutionResult]
TODAY = date(2024, 2, 10)


@pytest.fixture
def collector(lake: ParquetStore, instance: dg.DagsterInstance) -> Collector:
    settings = settings_for("http://127.0.0.1:1", "ETH-EUR:1h", "BTC-USD:1h")
    return Collector(asset_job(settings), instance, lake)


@pytest.fixture
def holes(lake: ParquetStore) -> None:
    """Two days with unconfirmed holes, two not collected, and explained holes."""
    store_days(lake, "01-02", "01-03", "01-04", "01-05", "01-08", "01-09")
    store_listing(lake)
    store_ledger(
        lake,
        "01",
        ("01-01T00", "01-02T00", State.NOT_COLLECTED),
        ("01-02T00", "01-03T00", State.NO_TRADES),
        ("01-03T00", "01-03T20", State.TRADED),
        ("01-03T20", "01-04T01", State.UNCONFIRMED),
        ("01-04T01", "01-06T00", State.TRADED),
        ("01-06T00", "01-08T00", State.NOT_COLLECTED),
        ("01-08T00", "02-01T00", State.AFTER_DELISTING),
    )


@pytest.fixture
def heal(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Heal:
    """Return a function that runs the job as the web UI does, with the environment's settings."""
    file = tmp_path / "location.py"
    file.write_text(LOCATION)
    location = ReconstructableRepository.for_file(str(file), "defs")

    def run(url: str, **config: object) -> dg.JobExecutionResult:
        monkeypatch.setenv("COINBASE_API_URL", url)
        monkeypatch.setenv("COINBASE_SERIES", "ETH-EUR:15m,ETH-EUR:1h")
        monkeypatch.setenv("COINBASE_GIVE_UP_AFTER", "1")
        monkeypatch.setenv("COINBASE_REQUESTS_PER_SECOND", "1000")
        return dg.execute_job(
            location.get_reconstructable_job("heal_candles"),
            instance,
            {"ops": {"heal": {"config": config}}},
        )

    return run


def planned(plans: list[Plan]) -> list[list[str]]:
    return [list(run) for plan in plans for run in plan.runs]


@pytest.mark.usefixtures("holes")
@pytest.mark.parametrize(
    ("first", "last", "days"),
    [
        ("01", "31", [["03", "04"], ["06", "07"]]),
        ("04", "31", [["04"], ["06", "07"]]),
        ("01", "06", [["03", "04"], ["06"]]),
        ("04", "06", [["04"], ["06"]]),
        ("05", "05", []),
    ],
)
def test_heal_plans_only_unexplained_days(
    collector: Collector, first: str, last: str, days: list[list[str]]
) -> None:
    begin, end = (date.fromisoformat(f"2024-01-{day}") for day in (first, last))
    plans = plan_healing(collector, [OTHER, HOURS], TODAY, begin, end)
    assert planned(plans) == [[f"2024-01-{day}" for day in run] for run in days]
    assert all(plan.series == HOURS for plan in plans)


def test_heal_plans_nothing_without_holes(collector: Collector, lake: ParquetStore) -> None:
    store_days(lake, "01-02", "01-03")
    store_ledger(lake, "01", ("01-01T00", "02-01T00", State.NO_TRADES))
    (plan,) = plan_healing(collector, [OTHER, HOURS], TODAY)
    assert (plan.series, plan.days) == (HOURS, []), "its history is to be built"


def test_heal_asks_nothing_of_stored_days_that_are_not_joined(
    collector: Collector, lake: ParquetStore
) -> None:
    store_days(lake, "01-02", "01-03")
    (plan,) = plan_healing(collector, [OTHER, HOURS], TODAY)
    assert (plan.series, plan.days) == (HOURS, []), "its history is to be built"


RECENTLY = f"{datetime.now(UTC):%FT%TZ}"


def test_heal_plans_days_of_earlier_rule_newest_first(
    collector: Collector, lake: ParquetStore
) -> None:
    earlier, days = "2024-01-06T00:00:00Z", ("01-02", "01-03", "01-04")
    store_days(lake, *days, compared_at=earlier, missing_buckets="3")
    store_days(lake, "01-05")
    store_ledger(lake, "01", ("01-01T00", "02-01T00", State.PENDING))
    plans = plan_healing(collector, [HOURS], TODAY)
    assert planned(plans) == [["2024-01-02", "2024-01-03", "2024-01-04"]]
    assert dict(plans[0].tags) == {HEALING: "true"}
    for requests, first in ((2, 3), (1, 4)):
        newest = plan_healing(collector, [HOURS], TODAY, most_requests=requests)
        assert planned(newest) == [[f"2024-01-0{day}" for day in range(first, 5)]]


def test_heal_at_night_skips_days_that_are_not_due(
    collector: Collector, lake: ParquetStore
) -> None:
    for day, compared_at in (("01-02", RECENTLY), ("01-03", "2024-01-06T00:00:00Z")):
        tried = {"rule": "2", "tries": "3", "compared_at": compared_at}
        store_days(lake, day, settled=False, missing_buckets="3", **tried)
    store_ledger(lake, "01", ("01-01T00", "02-01T00", State.UNCONFIRMED))
    by_hand = plan_healing(collector, [HOURS], TODAY)
    assert planned(by_hand) == [["2024-01-02", "2024-01-03"]]
    at_night = plan_healing(collector, [HOURS], TODAY, most_requests=100)
    assert planned(at_night) == [["2024-01-03"]]


def test_heal_with_trades_plans_days_with_a_hole(collector: Collector, lake: ParquetStore) -> None:
    store_days(lake, "01-02", "01-03", "01-05", missing_buckets="3")
    store_days(lake, "01-04", missing_buckets="0")
    plans = plan_trades(collector, [HOURS], date(2024, 1, 3), date(2024, 1, 31))
    assert [list(plan.days) for plan in plans] == [["2024-01-03", "2024-01-05"]]
    assert dict(plans[0].tags) == {HEALING: WITH_TRADES}


@pytest.mark.soak
def test_heal_job_requests_unexplained_days_until_none_left(
    lake: ParquetStore, instance: dg.DagsterInstance, heal: Heal
) -> None:
    losing = True

    def lose_rows(number: int, product: str, params: Mapping[str, str]) -> str | None:
        of_the_fourth = params.get("start", "") >= "2024-01-03T23:50"
        lost = losing and of_the_fourth and params["granularity"] == "900"
        return "middle" if lost else None

    with StandInExchange(rate=None, faults=lose_rows) as exchange:
        settings = settings_for(exchange.url, "ETH-EUR:15m")
        collector = Collector(asset_job(settings), instance, lake)
        collector.collect(collector.plan(QUARTERS, ["2024-01-01", "2024-01-02", "2024-01-04"]))
        states = {interval.state for interval in series_status(lake, QUARTERS, TODAY).unexplained}
        assert states == {State.NOT_COLLECTED, State.UNCONFIRMED}
        losing = False
        before = len(exchange.requests)
        assert planned(plan_healing(collector, [QUARTERS], TODAY)) == [["2024-01-03", "2024-01-04"]]
        assert len(exchange.requests) == before
        assert heal(exchange.url, series=["ETH-EUR:15m"], first="2024-01-04").success
        assert planned(plan_healing(collector, [QUARTERS], TODAY)) == [["2024-01-03"]]
        assert heal(exchange.url).success
        asked = [request.params for request in exchange.requests[before:]]
        assert planned(plan_healing(collector, [QUARTERS], TODAY)) == []
    candles = [params for params in asked if params["granularity"] == "900"]
    assert {params["end"][:10] for params in candles} == {"2024-01-03", "2024-01-04"}
    assert min(params["start"] for params in candles) >= "2024-01-02T23:50"
    assert series_status(lake, QUARTERS, TODAY).complete
    kinds = (RAW_CANDLES, CANDLE_HISTORY, CANDLE_COVERAGE)
    keys = {dg.AssetKey(kind.asset_key(QUARTERS)) for kind in kinds}
    for key in keys:
        assert len(instance.get_materialized_partitions(key)) == (4 if "raw" in key.path[-1] else 1)


@pytest.mark.soak
@pytest.mark.usefixtures("holes")
def test_heal_job_fails_when_exchange_unreachable(heal: Heal) -> None:
    result = heal("http://127.0.0.1:1", series=["ETH-EUR:1h"], first="2024-01-06")
    assert not result.success
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert "no answer from http://127.0.0.1:1" in str(failure.step_failure_data.error)
