"""The main job: what it collects, skips, builds and reports."""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date, timedelta

import dagster as dg
import pytest
from azure.storage.blob import ContainerClient

from coinbase_assets.automation.collector import Collector
from coinbase_assets.candles.datasets import CANDLE_HISTORY
from coinbase_assets.candles.series import Series
from coinbase_assets.exchange.errors import ExchangeUnavailable, ProductNotFound
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.running import asset_job, build_history, collect_raw, settings_for
from coinbase_assets_tests.stand_in.exchange import StandInExchange

HOURS = Series.parse("ETH-EUR:1h")
DAYS = ["2024-01-28", "2024-01-29", "2024-01-30", "2024-01-31", "2024-02-01", "2024-02-02"]


@pytest.fixture
def exchange() -> Iterator[StandInExchange]:
    with StandInExchange(rate=None) as exchange:
        yield exchange


@pytest.fixture
def collector(
    exchange: StandInExchange, lake: ParquetStore, instance: dg.DagsterInstance
) -> Collector:
    settings = settings_for(exchange.url, "ETH-EUR:1h", "NONE-EUR:1h", "BTC-USD:1m")
    return Collector(asset_job(settings), instance, lake)


def test_collect_stores_and_records_days_and_months(
    collector: Collector, lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    plan = collector.plan(HOURS, DAYS)
    assert (plan.runs, plan.requests) == ([DAYS], 2)  # one of them for daily candles
    outcome = collector.collect(plan)
    assert (outcome.missing, outcome.error) == ([], None)
    stored = Counter(path.split("/")[0] for path in lake.list(""))
    assert stored == {
        "raw_candles": 6,
        "candle_history": 2,
        "candle_coverage": 2,
        "market_halts": 2,
    }
    assert [run.status for run in instance.get_runs()] == [dg.DagsterRunStatus.SUCCESS] * 2


def test_collect_skips_settled_recorded_days(collector: Collector) -> None:
    collector.collect(collector.plan(HOURS, DAYS[1:3]))
    assert collector.plan(HOURS, DAYS).runs == [DAYS[:1], DAYS[3:]]
    assert collector.plan(HOURS, DAYS[1:3]).requests == 0
    assert collector.plan(HOURS, DAYS, again=True).runs == [DAYS]


def test_collect_replaces_deleted_blob_of_recorded_day(
    collector: Collector, lake: ParquetStore, container: ContainerClient
) -> None:
    collector.collect(collector.plan(HOURS, DAYS))
    container.delete_blob(next(path for path in lake.list("raw_") if DAYS[2] in path))
    assert collector.plan(HOURS, DAYS).runs == [DAYS[2:3]]


def test_collect_splits_long_range_into_runs(collector: Collector) -> None:
    first = date(2023, 12, 1)
    days = [str(first + timedelta(day)) for day in range(250)]
    plan = collector.plan(Series.parse("BTC-USD:1m"), days)
    assert [len(run) for run in plan.runs] == [100, 100, 50]
    assert [day for run in plan.runs for day in run] == days


def test_collect_runs_separate_days_apart(collector: Collector) -> None:
    days = ["2024-02-28", "2024-02-29", "2024-03-01", "2024-03-03", "2025-03-04"]
    assert collector.plan(HOURS, days).runs == [days[:3], days[3:4], days[4:]]


def test_collect_builds_only_stale_months(
    collector: Collector, exchange: StandInExchange, instance: dg.DagsterInstance
) -> None:
    collector.collect(collector.plan(HOURS, DAYS))
    runs = len(instance.get_runs())
    collector.collect(collector.plan(HOURS, DAYS))
    assert len(instance.get_runs()) == runs
    # A day recorded without its month, as when the process died in between.
    collect_raw(settings_for(exchange.url, "ETH-EUR:1h"), instance, DAYS[-1])
    collector.collect(collector.plan(HOURS, DAYS))
    month = instance.get_latest_materialization_event(dg.AssetKey(CANDLE_HISTORY.asset_key(HOURS)))
    assert month
    assert month.dagster_event
    assert month.dagster_event.partition == "2024-02"
    assert len(instance.get_runs()) == runs + 2


def test_collect_builds_month_without_ledger(
    collector: Collector, exchange: StandInExchange, instance: dg.DagsterInstance
) -> None:
    """An older version built no ledgers, and a run may end before it."""
    settings = settings_for(exchange.url, "ETH-EUR:1h")
    collect_raw(settings, instance, DAYS[0], DAYS[3])
    build_history(settings, instance, "2024-01")
    outcome = collector.collect(collector.plan(HOURS, DAYS[:4]))
    assert (outcome.plan.runs, outcome.missing) == ([], [])


def test_collect_plans_requests_it_sends(collector: Collector, exchange: StandInExchange) -> None:
    first = date(2023, 1, 1)
    days = [str(first + timedelta(day)) for day in range(320)]
    # 320 days of 24 candles, and 321 daily ones, 300 a request.
    assert collector.plan(HOURS, days).requests == 26 + 2
    plan = collector.plan(HOURS, [*days[:20], days[30]])
    collector.collect(plan)
    assert plan.requests == len(exchange.requests) == (2 + 1) + (1 + 1)


def test_collect_names_unknown_product(collector: Collector) -> None:
    outcome = collector.collect(collector.plan(Series.parse("NONE-EUR:1h"), DAYS[:1]))
    assert isinstance(outcome.error, ProductNotFound)
    assert outcome.missing == [
        "raw_candles 2024-01-28",
        "candle_history 2024-01",
        "candle_coverage 2024-01",
    ]


def test_collect_builds_months_before_failure(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    def from_may_on(number: int, product: str, params: Mapping[str, str]) -> str | None:
        return "503" if params["end"] >= "2024-05-01" else None

    days = [f"2024-{month:02}-{day:02}" for month in (1, 3, 5) for day in (1, 2)]
    with StandInExchange(rate=None, faults=from_may_on) as exchange:
        settings = settings_for(exchange.url, "ETH-EUR:1h")
        settings = settings.model_copy(update={"give_up_after": 0.5})
        collector = Collector(asset_job(settings), instance, lake)
        outcome = collector.collect(collector.plan(HOURS, days))
    assert isinstance(outcome.error, ExchangeUnavailable)
    assert outcome.missing == [
        "raw_candles 2024-05-01",
        "raw_candles 2024-05-02",
        "candle_history 2024-05",
        "candle_coverage 2024-05",
    ]
