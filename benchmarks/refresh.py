"""A live refresh of many series: a run as the schedule launches it, and the exchange's floor.

The run has a process of its own. The stand-in exchange answers after 100 ms, and allows 10 requests
a second and bursts of 15. A series takes a request, so the floor is (series - 15) / 10 seconds. The
target is 1.2 of series / 10: an exchange that was just asked allows no burst.
"""

import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

from benchmarks.launched_runs import launch
from benchmarks.processes import Finished, azurite
from benchmarks.tables import Measured, print_table
from coinbase_assets.automation.schedules import live_run_tags
from coinbase_assets.candles.datasets import RAW_CANDLES
from coinbase_assets.candles.series import Granularity, Series
from coinbase_assets.dagster_instance.deployment import OWN
from coinbase_assets_tests.processes import (
    process_environment,
    quiet_instance,
)
from coinbase_assets_tests.stand_in.exchange import StandInExchange
from coinbase_assets_tests.stand_in.markets import synthetic_markets

RATE, BURST = 10, 15
MINUTES, QUARTERS = (100, Granularity.ONE_MINUTE), (700, Granularity.FIFTEEN_MINUTES)


def main(runs: int) -> None:
    """Print the tables: of so many refreshes of 100 series of 1m, and of one of 700 of 15m."""
    for (number, granularity), times, most in ((MINUTES, runs, 5.0), (QUARTERS, 1, None)):
        taken = _refreshes(number, granularity, times)
        name = f"refresh of {number} series of {granularity}"
        print_table(
            name,
            Measured("the run", [one.seconds for one in taken], limit=1.2 * number / RATE),
            floor=(number - BURST) / RATE,
        )
        print_table(
            f"processor time of the {name}",
            Measured("the run", [one.processor for one in taken], limit=most),
        )
        memory = Measured("the run", [one.peak for one in taken])
        print_table(f"peak memory of the {name}", memory, unit="MB")


def _refreshes(number: int, granularity: Granularity, times: int) -> Sequence[Finished]:
    """What each refresh takes, after a first one that collects the day."""
    names = [f"COIN{each}-USD" for each in range(number)]
    series = [Series(name, granularity) for name in names]
    with (
        tempfile.TemporaryDirectory() as folder,
        azurite(Path(folder)) as storage,
        StandInExchange(latency=0.1, rate=RATE, markets=synthetic_markets(names)) as exchange,
    ):
        environment = process_environment(
            quiet_instance(Path(folder) / "dagster"),
            AZURE_STORAGE_CONNECTION_STRING=storage,
            COINBASE_API_URL=exchange.url,
            COINBASE_SERIES=",".join(map(str, series)),
            COINBASE_START=f"{datetime.now(UTC) - timedelta(days=2):%F}",
        )
        _refresh(series, environment)
        taken = []
        for _ in range(times):
            time.sleep(granularity.seconds if granularity is Granularity.ONE_MINUTE else 0)
            asked = len(exchange.requests)
            taken.append(_refresh(series, environment))
            assert len(exchange.requests) - asked >= number
    return taken


def _refresh(series: Sequence[Series], environment: Mapping[str, str]) -> Finished:
    today = datetime.now(UTC).date()
    keys = [dg.AssetKey(RAW_CANDLES.asset_key(each)) for each in series]
    return launch(keys, live_run_tags(OWN, today, today), environment, "benchmarks.unchecked")
