"""Processor time of collecting a million 1m candles, beside the least that any program takes.

The stand-in exchange answers at once. What the command takes again, when it has nothing to ask for,
is subtracted from what it takes first; of the bare loop, what it takes for no month.
"""

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlopen

from azure.storage.blob import BlobServiceClient

from benchmarks.peers import script
from benchmarks.processes import COMMAND, azurite, run, unlimited_exchange
from benchmarks.tables import Measured, print_table
from coinbase_assets import Lake
from coinbase_assets_tests.processes import process_environment

MONTHS = ["2023-09", "2023-10", "2023-11", "2023-12"]
SPAN = ("--from", "2023-09-01", "--to", "2023-12-31")
SERIES = "BTC-USD:1m"
OURS, BARE = "ours", "bare"
# Ours asks for a daily candle, too, and stores the lake's id.
_MORE = 2


class Work(NamedTuple):
    """Seconds of processor time, requests that the exchange got, and the blobs that were put."""

    seconds: float
    requests: int
    puts: int


def main(runs: int) -> None:
    """Print the table, of so many runs."""
    ours, bare = zip(*(_run() for _ in range(runs)), strict=True)
    print_table(
        "processor time of a million 1m candles",
        Measured("coinbase-assets collect", ours),
        Measured("a bare loop", bare, at_most=1.0),
    )


def environment_of(folder: Path, storage: str, url: str, container: str) -> Mapping[str, str]:
    """The variables of a command that collects the series without waiting."""
    return process_environment(
        folder / "dagster",
        AZURE_STORAGE_CONNECTION_STRING=storage,
        COINBASE_API_URL=url,
        COINBASE_REQUESTS_PER_SECOND="1000",
        COINBASE_SERIES=SERIES,
        COINBASE_CONTAINER=container,
    )


def _run() -> tuple[float, float]:
    """Seconds of a million candles, with ours and with the bare loop."""
    with (
        tempfile.TemporaryDirectory() as name,
        azurite(Path(name)) as storage,
        unlimited_exchange() as url,
    ):
        variables = environment_of(Path(name), storage, url, OURS)
        collect = [COMMAND, "collect", SERIES, *SPAN]
        loop = [sys.executable, str(script("bare_loop")), url, storage]
        ours, again, bare, start_up = (
            _work(command, variables, Path(name), container)
            for command, container in (
                (collect, OURS),
                (collect, OURS),
                ([*loop, BARE, *MONTHS], BARE),
                ([*loop, "start-up"], "start-up"),
            )
        )
        assert again.requests == start_up.requests == 0
        assert 0 <= ours.requests - bare.requests <= _MORE, (ours, bare)
        assert 0 <= ours.puts - bare.puts <= _MORE, (ours, bare)
        millions = _candles(storage) / 1e6
    return (ours.seconds - again.seconds) / millions, (bare.seconds - start_up.seconds) / millions


def _work(command: list[str], variables: Mapping[str, str], folder: Path, container: str) -> Work:
    url, storage = variables["COINBASE_API_URL"], variables["AZURE_STORAGE_CONNECTION_STRING"]
    before = _requests(url)
    finished = run(command, variables, folder)
    with BlobServiceClient.from_connection_string(storage) as service:
        puts = len([*service.get_container_client(container).list_blob_names()])
    return Work(finished.processor, _requests(url) - before, puts)


def _requests(url: str) -> int:
    """How many requests the stand-in exchange has got."""
    with urlopen(f"{url}/stats") as answer:
        return json.load(answer)["requests"]


def _candles(storage: str) -> int:
    """How many candles ours has stored."""
    with Lake(OURS, connection_string=storage) as lake:
        return lake.dataset("raw_candles").count_rows()
