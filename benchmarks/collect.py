"""Collecting 31 days of 1m candles: whole processes, beside what users would take instead.

freqtrade stores Feather, and the ccxt script Parquet, in a local folder, as their users do; this
project stores 31 raw days, a history month and its ledger in Azurite, and records them in Dagster.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pyarrow.dataset as ds

from benchmarks.peers import peer_python, script
from benchmarks.processes import COMMAND, azurite, run
from benchmarks.tables import Measured, print_table
from coinbase_assets import Lake
from coinbase_assets.candles.calendar import month_range
from coinbase_assets.candles.series import Granularity
from coinbase_assets.candles.windows import request_windows
from coinbase_assets_tests.processes import process_environment
from coinbase_assets_tests.stand_in.exchange import StandInExchange

RATE, BURST = 10, 15
MONTH = "2024-01"


class Collected(NamedTuple):
    """Seconds of the process, and from its first request to its end."""

    seconds: float
    since_first: float


def main(runs: int) -> None:
    """Print the tables, of so many runs each."""
    start, end = month_range(MONTH)
    requests = len(list(request_windows(start, end, Granularity.ONE_MINUTE)))
    floor = (requests - BURST) / RATE
    peers = {name: peer_python(name) for name in ("freqtrade", "ccxt")}
    ours, again = list[Collected](), list[Collected]()
    theirs = {name: list[Collected]() for name in peers}
    with tempfile.TemporaryDirectory() as name, azurite(Path(name)) as connection_string:
        folder = Path(name)
        for number in range(runs):
            first, second = _collect(folder, connection_string, f"run{number}")
            ours.append(first)
            again.append(second)
            for peer, python in peers.items():
                theirs[peer].append(_collect_as(peer, python, folder / f"{peer}{number}"))
    contenders = {
        "coinbase-assets collect": ours,
        "freqtrade download-data": theirs["freqtrade"],
        "ccxt, one page after another": theirs["ccxt"],
    }
    for what, part, targets in (
        ("whole process", "seconds", (1.12, 0.85, 0.85)),
        ("from its first request on", "since_first", (None, None, None)),
    ):
        rows = [
            Measured(name, [getattr(one, part) for one in taken], target)
            for (name, taken), target in zip(contenders.items(), targets, strict=True)
        ]
        print_table(f"collect 31 days of 1m, {what}", *rows, floor=floor)
    print_table(
        "The same command again, which asks for nothing",
        Measured("coinbase-assets collect", [one.seconds for one in again]),
    )


def _collect(folder: Path, connection_string: str, name: str) -> tuple[Collected, Collected]:
    """What the command takes in a container and an instance of its own, and the same again.

    The candles must be there then, and the second one ask for nothing.
    """
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

    first_time, again = _on_an_exchange(collect), _on_an_exchange(collect)
    assert not again.since_first
    with Lake(name, connection_string=connection_string) as lake:
        candles = lake.read_candles_arrow("BTC-USD", "1m", *month_range(MONTH))
    _check(candles.num_rows, "coinbase-assets")
    return first_time, again


def _collect_as(peer: str, python: Path, folder: Path) -> Collected:
    """What the peer's process takes: its script takes a URL, the folder, and the month's ends."""
    folder.mkdir()
    ends = [f"{day:%F}" for day in month_range(MONTH)]

    def collect(url: str) -> float:
        # -P: the script has the name of the package it imports.
        command = [python, "-P", script(peer), url, folder, *ends]
        return run(command, process_environment(folder), folder).seconds

    taken = _on_an_exchange(collect)
    (file,) = [*folder.rglob("*.feather"), *folder.rglob("*.parquet")]
    _check(ds.dataset(file, format=file.suffix[1:]).count_rows(), peer)
    return taken


def _check(stored: int, name: str) -> None:
    """Raise AssertionError unless all candles that the exchange has were stored."""
    start, end = (int(day.timestamp()) for day in month_range(MONTH))
    market = StandInExchange().markets["BTC-USD"]
    traded = len(market.candles(60, start, end - 1, time.time()))
    assert stored >= traded, f"{name} stored {stored} candles of {traded}"


def _on_an_exchange(collect: Callable[[str], float]) -> Collected:
    """What it takes, given the URL of a stand-in of its own, which must not have to refuse it."""
    with StandInExchange(latency=0.1, rate=RATE, burst=BURST) as exchange:
        seconds, end = collect(exchange.url), time.monotonic()
        assert all(request.status == 200 for request in exchange.requests)
    return Collected(seconds, end - exchange.requests[0].arrived if exchange.requests else 0.0)
