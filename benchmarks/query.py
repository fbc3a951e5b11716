"""`coinbase-assets query` with LIMIT, many times as a process: it ends well, and so does Ctrl-C.

A LIMIT leaves reads of blobs under way when the result is printed, and Ctrl-C comes at any moment.
"""

import random
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from benchmarks.processes import COMMAND
from benchmarks.synthetic import Account, months, store_history, temporary_account
from coinbase_assets.candles.series import Series
from coinbase_assets_tests.processes import process_environment

CONTAINER = "lake"
SERIES = Series.parse("ETH-EUR:15m")
MONTHS = months("2021-01", 48)
QUERIES = (
    "SELECT * FROM candle_history LIMIT 3",
    "SELECT time, close FROM candle_history LIMIT 1",
    "SELECT * FROM candle_history WHERE month >= '2023-06' LIMIT 10",
    "SELECT * FROM candle_history LIMIT 5 OFFSET 100000",
    "SELECT month, close FROM candle_history WHERE close > 0 LIMIT 7",
    "FROM candle_history LIMIT 100",
    "SELECT product, max(high) FROM candle_history GROUP BY ALL LIMIT 1",
    "SELECT time FROM candle_history ORDER BY volume DESC LIMIT 4",
    "WITH first AS (SELECT * FROM candle_history LIMIT 2) SELECT count(*) AS n FROM first",
    "SELECT * FROM candle_history, (SELECT 1 AS one LIMIT 1) LIMIT 6",
)
STYLES = ((), ("--json",), ("--csv",))
RUNS_OF_A_QUERY = 4
# Ctrl-C comes after this many seconds or later. If Python itself still starts then, it prints a
# traceback, which no program can prevent; such runs have a row of their own.
EARLIEST = 0.1
_PYTHON_STARTING = "Fatal Python error: init_"


@dataclass(frozen=True)
class Ended:
    """How a process ended. Output is stray if it is neither the result nor one line of error."""

    status: str
    seconds: float
    is_stray: bool


def main(runs: int) -> None:
    """Run each of ten queries `4 * runs` times, and as often with Ctrl-C at a random moment."""
    with temporary_account() as account, tempfile.TemporaryDirectory() as name:
        with account.store(CONTAINER) as store:
            store_history(store, SERIES, MONTHS)
        environment = _environment(Path(name), account)
        count = len(QUERIES) * RUNS_OF_A_QUERY * runs
        whole = list(islice(_run_all(environment, Path(name), None), count))
        _print_table(f"{count} queries with LIMIT", whole)
        longest = sorted(each.seconds for each in whole)[-count // 20]
        stopped = list(islice(_run_all(environment, Path(name), longest), count))
        _print_table(f"{count} queries with LIMIT and Ctrl-C within {longest:.1f} s", stopped)


def _environment(folder: Path, account: Account) -> Mapping[str, str]:
    return process_environment(
        folder,
        AZURE_STORAGE_CONNECTION_STRING=account.connection_string,
        COINBASE_CONTAINER=CONTAINER,
    )


def _run_all(
    environment: Mapping[str, str], folder: Path, stop_within: float | None
) -> Iterator[Ended]:
    """Yield the ends of processes, one query after another, over and over."""
    numbers = random.Random(0)
    while True:
        for query in QUERIES:
            command = [COMMAND, "query", query, *numbers.choice(STYLES)]
            delay = numbers.uniform(EARLIEST, stop_within) if stop_within else None
            yield _run(command, environment, folder, delay)


def _run(
    command: list[str], environment: Mapping[str, str], folder: Path, delay: float | None
) -> Ended:
    begin = time.perf_counter()
    with subprocess.Popen(
        command,
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        if delay is not None:
            time.sleep(delay)
            process.send_signal(signal.SIGINT)
        output, errors = process.communicate()
    seconds = time.perf_counter() - begin
    if _PYTHON_STARTING in errors:
        return Ended("Python was starting", seconds, False)
    # Ctrl-C may come when the whole result is printed.
    is_cut = bool(output) and not output.endswith("\n")
    is_stray = bool(errors) if process.returncode == 0 else is_cut or errors.count("\n") > 1
    if is_stray:
        print(f"stray, status {process.returncode}, {delay=}: {command[2:]}\n{output}{errors}")
    return Ended(str(process.returncode), seconds, is_stray)


def _print_table(work: str, ended: list[Ended]) -> None:
    print(f"\n**{work}**\n\n| exit status | runs | with stray output | longest, s |")
    print("|---|---|---|---|")
    for status, count in sorted(Counter(each.status for each in ended).items()):
        those = [each for each in ended if each.status == status]
        stray = sum(each.is_stray for each in those)
        print(f"| {status} | {count} | {stray} | {max(each.seconds for each in those):.1f} |")
