"""Collecting 31 days of 1m candles, as a whole process, against the floor the exchange sets."""

import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from coinbase_assets.exchange.windows import request_windows
from coinbase_assets.partitions import month_range
from coinbase_assets.series import Granularity
from coinbase_assets.storage.azurite import running_azurite
from coinbase_assets_tests.conftest import AZURITE_KEY, free_port
from coinbase_assets_tests.exchange import StandInExchange

RUNS = 5
MONTH = "2024-01"
COMMAND = Path(sys.executable).with_name("coinbase-assets")


def main() -> None:
    start, end = month_range(MONTH)
    requests = len(list(request_windows(start, end, Granularity.ONE_MINUTE)))
    floor = (requests - 15) / 10
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"dagster {version('dagster')}, {RUNS} runs; stand-in: 100 ms, 10 requests/s, burst 15")
    start_up = statistics.median(_seconds(["--help"], {}) for _ in range(RUNS))
    print(f"coinbase-assets --help: {start_up:.1f} s")
    with tempfile.TemporaryDirectory() as folder:
        seconds = [_collect(Path(folder), run) for run in range(RUNS)]
    median = statistics.median(seconds)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print("work                         seconds (min, median, max)   floor   ratio")
    print(
        f"collect 31 days of 1m        {min(seconds):.1f} {median:.1f} {max(seconds):.1f}"
        f"               {floor:.1f}    {median / floor:.2f}"
    )
    print(f"peak memory of one process: {peak:.0f} MB")


def _collect(folder: Path, run: int) -> float:
    """Seconds of a whole process, on an exchange, an Azurite and an instance of its own."""
    port = free_port()
    with StandInExchange(latency=0.1) as exchange, running_azurite(folder / f"azurite{run}", port):
        environment = {
            "AZURE_STORAGE_CONNECTION_STRING": (
                f"AccountName=devstoreaccount1;AccountKey={AZURITE_KEY};"
                f"BlobEndpoint=http://127.0.0.1:{port}/devstoreaccount1"
            ),
            "COINBASE_API_URL": exchange.url,
            "DAGSTER_HOME": str(folder / f"dagster{run}"),
        }
        arguments = ["collect", "--series", "BTC-USD:1m"]
        arguments += ["--from", f"{MONTH}-01", "--to", f"{MONTH}-31"]
        seconds = _seconds(arguments, environment)
        assert all(request.status == 200 for request in exchange.requests)
    return seconds


def _seconds(arguments: list[str], environment: dict[str, str]) -> float:
    begin = time.perf_counter()
    subprocess.run(
        [COMMAND, *arguments], env=os.environ | environment, check=True, capture_output=True
    )
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
