"""Processor time: of a million 1m candles, and of commands that ask for little.

The stand-in exchange answers at once. What a command takes again, when it has nothing to ask for,
is subtracted from what it takes first; of the bare loop, what it takes for no month.
"""

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from azure.storage.blob import ContainerClient

from benchmarks.peers import script
from benchmarks.processes import COMMAND, azurite, run, unlimited_exchange
from benchmarks.tables import Measured, print_table
from coinbase_assets import Lake
from coinbase_assets_tests.processes import process_environment

MONTHS = ["2023-09", "2023-10", "2023-11", "2023-12"]
SPAN = ("--from", "2023-09-01", "--to", "2023-12-31")
SERIES = "BTC-USD:1m"


def main(runs: int) -> None:
    """Print the tables, of so many runs each."""
    taken = [_run(number) for number in range(runs)]
    ours, bare, settled, query = (list(each) for each in zip(*taken, strict=True))
    print_table(
        "processor time of a million 1m candles",
        Measured("coinbase-assets collect", ours),
        Measured("a bare loop", bare, at_most=1.0),
    )
    print_table(
        "processor time of commands",
        Measured("collect of settled days", settled, limit=1.6),
        Measured("query of a month", query, limit=1.2),
        Measured("import coinbase_assets", _imports("coinbase_assets", runs), limit=0.15),
        Measured("import dagster", _imports("dagster", runs)),
    )


def _run(number: int) -> tuple[float, float, float, float]:
    """Seconds of a million candles with ours and the bare loop, of `collect` again and `query`."""
    with (
        tempfile.TemporaryDirectory() as name,
        azurite(Path(name)) as storage,
        unlimited_exchange() as url,
    ):
        folder = Path(name)
        environment = process_environment(
            folder / "dagster",
            AZURE_STORAGE_CONNECTION_STRING=storage,
            COINBASE_API_URL=url,
            COINBASE_REQUESTS_PER_SECOND="1000",
            COINBASE_SERIES=SERIES,
            COINBASE_CONTAINER="light",
        )
        collect = [COMMAND, "collect", SERIES, *SPAN]
        first, again = (run(collect, environment, folder).processor for _ in range(2))
        sql = "SELECT count(*) FROM candle_history WHERE month = '2023-12'"
        query = run([COMMAND, "query", sql], environment, folder).processor
        with Lake("light", connection_string=storage) as lake:
            millions = lake.dataset("raw_candles").count_rows() / 1e6
        bare = [_bare_loop(url, storage, months, environment, folder) for months in (MONTHS, [])]
        _check(storage, millions)
    return (first - again) / millions, (bare[0] - bare[1]) / millions, again, query


def _bare_loop(
    url: str, storage: str, months: list[str], environment: Mapping[str, str], folder: Path
) -> float:
    name = f"bare{len(months)}"
    command = [sys.executable, str(script("bare_loop")), url, storage, name, *months]
    return run(command, environment, folder).processor


def _check(storage: str, millions: float) -> None:
    """Raise AssertionError unless the bare loop put as many days and months, and candles."""
    with ContainerClient.from_connection_string(storage, f"bare{len(MONTHS)}") as container:
        assert len([*container.list_blob_names()]) == 122 + 2 * len(MONTHS)
    assert millions > 0.1


def _imports(name: str, runs: int) -> list[float]:
    with tempfile.TemporaryDirectory() as folder:
        environment = process_environment(Path(folder))
        command = [sys.executable, "-c", f"import {name}"]
        return [run(command, environment, Path(folder)).processor for _ in range(runs)]
