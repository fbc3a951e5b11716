"""What Ctrl-C leaves behind: joined, or named with the command that joins it."""

import re

import dagster as dg
import pytest

from coinbase_assets.automation.collector import Collector
from coinbase_assets.candles.datasets import CANDLE_COVERAGE, CANDLE_HISTORY
from coinbase_assets.candles.series import Series
from coinbase_assets.cli.console import PlainConsole
from coinbase_assets.cli.last_join import join_landed
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.running import asset_job, collect_raw, settings_for
from coinbase_assets_tests.stand_in.exchange import StandInExchange

HOURS, QUARTERS = Series.parse("ETH-EUR:1h"), Series.parse("ETH-EUR:15m")


@pytest.fixture
def collector(lake: ParquetStore, instance: dg.DagsterInstance) -> Collector:
    """Days of one series have landed, and are not joined; nothing of the other has."""
    with StandInExchange(rate=None) as exchange:
        settings = settings_for(exchange.url, str(HOURS), str(QUARTERS))
        collect_raw(settings, instance, "2024-01-30", "2024-02-02")
        return Collector(asset_job(settings), instance, lake)


def months(lake: ParquetStore) -> list[str]:
    paths = [path for kind in (CANDLE_HISTORY, CANDLE_COVERAGE) for path in lake.list(kind.name)]
    return [path.split("month=")[1][:7] for path in paths]


def test_last_join_joins_what_landed(
    collector: Collector, lake: ParquetStore, capsys: pytest.CaptureFixture[str]
) -> None:
    join_landed(PlainConsole(), collector, [HOURS, QUARTERS], seconds=600)
    assert months(lake) == ["2024-01", "2024-02"] * 2
    assert capsys.readouterr().out == ""


def test_last_join_without_time_names_the_command_which_asks_nothing(
    collector: Collector, lake: ParquetStore, capsys: pytest.CaptureFixture[str]
) -> None:
    join_landed(PlainConsole(), collector, [HOURS, QUARTERS], seconds=0)
    (advice,) = capsys.readouterr().out.splitlines()
    command = "coinbase-assets collect --series ETH-EUR:1h --from (.*) --to (.*)"
    found = re.fullmatch(f"ETH-EUR:1h: stored, not joined yet: run {command}", advice)
    assert found
    assert found.groups() == ("2024-01-30", "2024-01-30")
    assert months(lake) == []
    plan = collector.plan(HOURS, found.groups())
    assert plan.requests == 0
    assert not collector.collect(plan).failed
    assert months(lake) == ["2024-01", "2024-02"] * 2
