"""Collecting 31 days of 1m candles: whole processes, beside what users would take instead.

freqtrade stores Feather, and the ccxt script Parquet, in a local folder, as their users do; this
project stores 31 raw days, a history month and its ledger in Azurite, and records them in Dagster.
"""

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.peers import peer_python, script
from benchmarks.processes import COMMAND, azurite, run
from benchmarks.tables import Measured, print_table
from coinbase_assets.exchange.windows import request_windows
from coinbase_assets.partitions import month_range
from coinbase_assets.series import Granularity
from coinbase_assets_tests.exchange import StandInExchange
from coinbase_assets_tests.processes import process_environment

RATE, BURST = 10, 15
MONTH = "2024-01"
WORK = "collect 31 days of 1m, whole process"


def main(runs: int) -> None:
    """Print the tables, of so many runs each."""
    start, end = month_range(MONTH)
    requests = len(list(request_windows(start, end, Granularity.ONE_MINUTE)))
    floor = (requests - BURST) / RATE
    peers = {name: peer_python(name) for name in ("freqtrade", "ccxt")}
    ours, again, theirs = [], [], {name: list[float]() for name in peers}
    with tempfile.TemporaryDirectory() as name, azurite(Path(name)) as connection_string:
        folder = Path(name)
        for number in range(runs):
            first, second = _collect(folder, connection_string, f"run{number}")
            ours.append(first)
            again.append(second)
            for peer, python in peers.items():
                theirs[peer].append(_collect_as(peer, python, folder / f"{peer}{number}"))
    start_up = statistics.median(again)
    print_table(
        f"{WORK}, into Azurite",
        Measured("coinbase-assets collect", ours),
        Measured("freqtrade download-data", theirs["freqtrade"], at_most=0.9),
        Measured("ccxt, one page after another", theirs["ccxt"], at_most=0.75),
        floor=floor,
    )
    print_table(
        f"{WORK}, beyond start-up",
        Measured("coinbase-assets collect", [one - start_up for one in ours], at_most=1.15),
        floor=floor,
    )
    print_table(
        "start-up: the same command again, which asks for nothing",
        Measured("coinbase-assets collect", again),
    )


def _collect(folder: Path, connection_string: str, name: str) -> tuple[float, float]:
    """Seconds of the command in a container and an instance of its own, and of the same again."""
    first, _ = (f"{day:%F}" for day in month_range(MONTH))
    arguments = ["collect", "--series", "BTC-USD:1m", "--from", first, "--to", f"{MONTH}-31"]

    def collect(url: str) -> float:
        environment = process_environment(
            folder / name,
            AZURE_STORAGE_CONNECTION_STRING=connection_string,
            COINBASE_CONTAINER=name,
            COINBASE_API_URL=url,
        )
        return run([COMMAND, *arguments], environment, folder).seconds

    return _on_an_exchange(collect), _on_an_exchange(collect)


def _collect_as(peer: str, python: Path, folder: Path) -> float:
    """Seconds of the peer's process: its script takes a URL, the folder, and the month's ends."""
    folder.mkdir()
    ends = [f"{day:%F}" for day in month_range(MONTH)]

    def collect(url: str) -> float:
        # -P: the script has the name of the package it imports.
        command = [python, "-P", script(peer), url, folder, *ends]
        return run(command, process_environment(folder), folder).seconds

    return _on_an_exchange(collect)


def _on_an_exchange(collect: Callable[[str], float]) -> float:
    """What it returns, given the URL of a stand-in of its own, which must not have to refuse it."""
    with StandInExchange(latency=0.1, rate=RATE, burst=BURST) as exchange:
        seconds = collect(exchange.url)
        assert all(request.status == 200 for request in exchange.requests)
    return seconds
