"""Back-fills launched as the web UI does, through `coinbase-assets dev` with all its sensors.

Timed from the first run's start to the last one's end, as Dagster recorded them; from the launch on
is shown beside it.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import httpx
import pyarrow as pa
import pyarrow.compute as pc
import tenacity
from dagster._core.execution.backfill import BulkActionStatus

from benchmarks.processes import azurite
from benchmarks.tables import Measured, print_table
from coinbase_assets import Lake
from coinbase_assets.candles.calendar import DAY, day_start
from coinbase_assets.candles.datasets import RAW_CANDLES
from coinbase_assets.candles.series import Series
from coinbase_assets.candles.windows import request_windows
from coinbase_assets_tests.conftest import free_port
from coinbase_assets_tests.processes import instance_at, process_environment
from coinbase_assets_tests.stand_in.exchange import StandInExchange
from coinbase_assets_tests.stand_in.faults import Faults, random_faults

LAUNCH = """mutation ($params: LaunchBackfillParams!) {
    launchPartitionBackfill(backfillParams: $params) {
        __typename ... on LaunchBackfillSuccess { backfillId } } }"""
BIN = Path(sys.executable).parent
NOTHING = Path(__file__).parent / "nothing.py"


@dataclass(frozen=True)
class Work:
    """Days of series, and the seconds that the exchange's limit alone takes for them."""

    series: Sequence[Series]
    first: date
    days: int

    @property
    def keys(self) -> list[str]:
        return [str(self.first + timedelta(day)) for day in range(self.days)]

    @property
    def floor(self) -> float:
        start, end = day_start(self.keys[0]), day_start(self.keys[-1]) + DAY
        windows = [request_windows(start, end, one.granularity) for one in self.series]
        return (sum(len(list(each)) for each in windows) - 15) / 10


@dataclass(frozen=True)
class Taken:
    """Seconds of the runs, seconds since the launch, and the candles there are."""

    runs: float
    launch: float
    candles: pa.Table | None = None


QUARTER = Work([Series.parse("BTC-USD:1m"), Series.parse("ETH-EUR:1m")], date(2024, 1, 1), 90)
FIVE_YEARS = Work([Series.parse("ETH-EUR:15m")], date(2019, 1, 1), 1826)


def main(runs: int) -> None:
    _print("90 days of 1m for two series", QUARTER, [_collect(QUARTER) for _ in range(runs)], 1.15)
    plain = [_collect(FIVE_YEARS) for _ in range(runs)]
    empty = Measured("Dagster alone", [_backfill_nothing(FIVE_YEARS).runs for _ in range(runs)])
    _print("5 years of 15m, 1,826 partitions", FIVE_YEARS, plain, 1.5, empty)
    failing = [_collect(FIVE_YEARS, random_faults(0.1, seed)) for seed in range(runs)]
    without = Measured("none failing", [one.runs for one in plain], at_most=1.35)
    print_table(
        "The same with 10 % failing answers",
        Measured("coinbase-assets", [one.runs for one in failing]),
        without,
        floor=FIVE_YEARS.floor,
    )
    same = all(one.candles == plain[0].candles for one in failing)
    print(f"\nThe same candles: {'yes' if same else 'NO'}")


def _print(
    name: str, work: Work, taken: Sequence[Taken], at_most: float, *others: Measured
) -> None:
    print_table(
        f"Back-fill {name}",
        Measured("coinbase-assets", [one.runs for one in taken], at_most),
        Measured("from the launch on", [one.launch for one in taken]),
        *others,
        floor=work.floor,
    )


def _collect(work: Work, faults: Faults | None = None) -> Taken:
    """On an exchange, an Azurite and an instance of its own; every day must be there."""
    with (
        tempfile.TemporaryDirectory() as folder,
        azurite(Path(folder)) as account,
        StandInExchange(latency=0.1, faults=faults) as exchange,
    ):
        environment = {
            "AZURE_STORAGE_CONNECTION_STRING": account,
            "COINBASE_API_URL": exchange.url,
            "COINBASE_SERIES": ",".join(map(str, work.series)),
            "COINBASE_START": str(work.first),
        }
        command = [str(BIN / "coinbase-assets"), "dev", "--port"]
        keys = [RAW_CANDLES.asset_key(one) for one in work.series]
        taken = _timed(command, environment, Path(folder) / "home", keys, work.keys)
        dataset = Lake(connection_string=account).dataset("raw_candles")
        # The live schedule collects the open day meanwhile.
        candles = dataset.to_table(filter=pc.field("time") < day_start(work.keys[-1]) + DAY)
        candles = candles.sort_by([("product", "ascending"), ("time", "ascending")])
    return Taken(taken.runs, taken.launch, candles)


def _backfill_nothing(work: Work) -> Taken:
    with tempfile.TemporaryDirectory() as folder:
        command = [str(BIN / "dagster"), "dev", "-f", str(NOTHING), "-p"]
        return _timed(command, {}, Path(folder) / "home", [["nothing"]], work.keys)


def _timed(
    command: Sequence[str],
    environment: Mapping[str, str],
    home: Path,
    keys: Sequence[Sequence[str]],
    partitions: Sequence[str],
) -> Taken:
    home.mkdir()
    port = free_port()
    with _running([*command, str(port)], process_environment(home, **environment)):
        params = {
            "assetSelection": [{"path": list(key)} for key in keys],
            "partitionNames": list(partitions),
        }
        backfill = _launch(f"http://127.0.0.1:{port}/graphql", params)
        launched = time.time()
        with instance_at(str(home)) as instance:
            runs = _finished(instance, backfill)
            for key in keys:
                made = instance.get_materialized_partitions(dg.AssetKey(key))
                assert made >= {*partitions}, f"{len(made)} of {len(partitions)} of {key}"
    end = max(run.end_time or 0 for run in runs)
    began = min(run.start_time or end for run in runs)
    return Taken(end - began, end - launched)


@contextmanager
def _running(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[None]:
    silent = subprocess.DEVNULL
    process = subprocess.Popen(command, env=environment, stdout=silent, stderr=silent)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


@tenacity.retry(
    retry=tenacity.retry_if_exception_type(httpx.TransportError),
    wait=tenacity.wait_fixed(0.2),
    stop=tenacity.stop_after_delay(60),
)
def _launch(url: str, params: object) -> str:
    question = {"query": LAUNCH, "variables": {"params": params}}
    answer = httpx.post(url, json=question, timeout=60, trust_env=False).json()
    return answer["data"]["launchPartitionBackfill"]["backfillId"]


def _finished(instance: dg.DagsterInstance, backfill: str) -> Sequence[dg.RunRecord]:
    """The records of the back-fill's runs, once all have succeeded."""
    while (status := instance.get_backfill(backfill).status) == BulkActionStatus.REQUESTED:  # type: ignore[union-attr]
        time.sleep(1)
    assert status in (BulkActionStatus.COMPLETED_SUCCESS, BulkActionStatus.COMPLETED), status
    return instance.get_run_records(dg.RunsFilter(tags={"dagster/backfill": backfill}))
