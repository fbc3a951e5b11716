"""Back-fills through `coinbase-assets dev` with all its sensors, launched in its web UI.

The one of 90 days is clicked in a browser, which is closed then; the long ones are launched by the
request that a click sends. Timed from the first run's start, and from the launch, to the end, as
Dagster recorded them.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import httpx
import pyarrow as pa
import pyarrow.compute as pc
import tenacity
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill

from benchmarks.process_trees import started
from benchmarks.processes import azurite
from benchmarks.tables import Measured, print_table
from coinbase_assets import Lake
from coinbase_assets.candles.calendar import DAY, day_start
from coinbase_assets.candles.datasets import RAW_CANDLES
from coinbase_assets.candles.series import Series
from coinbase_assets.candles.windows import request_windows
from coinbase_assets_tests.conftest import free_port
from coinbase_assets_tests.end_to_end.browser import web_ui
from coinbase_assets_tests.processes import instance_at, process_environment
from coinbase_assets_tests.stand_in.exchange import StandInExchange
from coinbase_assets_tests.stand_in.faults import Faults, random_faults

# Takes the address of a web UI, the assets' keys and their partitions; returns the back-fill's id.
Launch = Callable[[str, Sequence[Sequence[str]], Sequence[str]], str]

LAUNCH = """mutation ($params: LaunchBackfillParams!) {
    launchPartitionBackfill(backfillParams: $params) {
        __typename ... on LaunchBackfillSuccess { backfillId } } }"""
BIN = Path(sys.executable).parent
JOB = "/locations/__repository__@coinbase_assets/jobs/live_candles"
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

    @property
    def limit(self) -> float:
        """Seconds within which a back-fill that is clicked has to be done."""
        return 1.1 * self.floor + 15


@dataclass(frozen=True)
class Taken:
    """Seconds of the runs, seconds since the launch or click, and the candles there are."""

    runs: float
    launch: float
    candles: pa.Table | None = None


QUARTER = Work([Series.parse("BTC-USD:1m"), Series.parse("ETH-EUR:1m")], date(2024, 1, 1), 90)
FIVE_YEARS = Work([Series.parse("ETH-EUR:15m")], date(2019, 1, 1), 1826)


def main(runs: int) -> None:
    clicked = [_collect(QUARTER, _click) for _ in range(runs)]
    print_table(
        "Back-fill 90 days of 1m for two series by a click",
        Measured("from the click on", [one.launch for one in clicked], limit=QUARTER.limit),
        Measured("from the first run's start on", [one.runs for one in clicked]),
        floor=QUARTER.floor,
    )
    plain = [_collect(FIVE_YEARS) for _ in range(runs)]
    failing = [_collect(FIVE_YEARS, faults=random_faults(0.1, seed)) for seed in range(runs)]
    print_table(
        "Back-fill 5 years of 15m, 1,826 partitions",
        Measured("coinbase-assets", [one.runs for one in plain], 1.5),
        Measured("from the launch on", [one.launch for one in plain]),
        Measured("Dagster alone", [_backfill_nothing(FIVE_YEARS).runs for _ in range(runs)]),
        floor=FIVE_YEARS.floor,
    )
    print_table(
        "The same with 10 % failing answers",
        Measured("coinbase-assets", [one.runs for one in failing]),
        Measured("none failing", [one.runs for one in plain], at_most=1.35),
        floor=FIVE_YEARS.floor,
    )
    same = all(one.candles == plain[0].candles for one in failing)
    print(f"\nThe same candles: {'yes' if same else 'NO'}")


def _launch(url: str, keys: Sequence[Sequence[str]], partitions: Sequence[str]) -> str:
    params = {
        "assetSelection": [{"path": list(key)} for key in keys],
        "partitionNames": list(partitions),
    }
    question = {"query": LAUNCH, "variables": {"params": params}}
    answer = httpx.post(f"{url}/graphql", json=question, timeout=60, trust_env=False).json()
    return answer["data"]["launchPartitionBackfill"]["backfillId"]


def _click(url: str, keys: Sequence[Sequence[str]], partitions: Sequence[str]) -> str:
    """Launch it on the page of the job that has just the series' raw candles."""
    with web_ui(url) as ui:
        ui.open(JOB)
        ui.page.get_by_role("button", name="Materialize").first.click()
        return ui.back_fill(partitions[0], partitions[-1])


def _collect(work: Work, launch: Launch = _launch, faults: Faults | None = None) -> Taken:
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
        home = Path(folder) / "home"
        taken = _timed(command, environment, home, keys, work.keys, launch)
        dataset = Lake(connection_string=account).dataset("raw_candles")
        # The live schedule collects the open day meanwhile.
        candles = dataset.to_table(filter=pc.field("time") < day_start(work.keys[-1]) + DAY)
        candles = candles.sort_by([("product", "ascending"), ("time", "ascending")])
    return Taken(taken.runs, taken.launch, candles)


def _backfill_nothing(work: Work) -> Taken:
    with tempfile.TemporaryDirectory() as folder:
        command = [str(BIN / "dagster"), "dev", "-f", str(NOTHING), "-p"]
        return _timed(command, {}, Path(folder) / "home", [["nothing"]], work.keys, _launch)


def _timed(
    command: Sequence[str],
    environment: Mapping[str, str],
    home: Path,
    keys: Sequence[Sequence[str]],
    partitions: Sequence[str],
    launch: Launch,
) -> Taken:
    home.mkdir()
    port = free_port()
    with started([*command, str(port)], process_environment(home, **environment), home):
        _wait_for(f"http://127.0.0.1:{port}/server_info")
        identifier = launch(f"http://127.0.0.1:{port}", keys, partitions)
        with instance_at(str(home)) as instance:
            backfill = _finished(instance, identifier)
            runs = instance.get_run_records(dg.RunsFilter(tags={"dagster/backfill": identifier}))
            for key in keys:
                made = instance.get_materialized_partitions(dg.AssetKey(key))
                assert made >= {*partitions}, f"{len(made)} of {len(partitions)} of {key}"
    end = max(run.end_time or 0 for run in runs)
    began = min(run.start_time or end for run in runs)
    done = backfill.backfill_end_timestamp
    assert done
    return Taken(end - began, done - backfill.backfill_timestamp)


def _finished(instance: dg.DagsterInstance, identifier: str) -> PartitionBackfill:
    """The back-fill, once all its runs have succeeded."""
    while True:
        backfill = instance.get_backfill(identifier)
        assert backfill
        if backfill.status != BulkActionStatus.REQUESTED:
            break
        time.sleep(1)
    success = (BulkActionStatus.COMPLETED_SUCCESS, BulkActionStatus.COMPLETED)
    assert backfill.status in success, backfill.status
    return backfill


@tenacity.retry(
    retry=tenacity.retry_if_exception_type(httpx.TransportError),
    wait=tenacity.wait_fixed(0.2),
    stop=tenacity.stop_after_delay(60),
)
def _wait_for(url: str) -> None:
    httpx.get(url, timeout=60, trust_env=False).raise_for_status()
