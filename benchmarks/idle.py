"""What an idle `make dev` takes, beside `dagster dev` over two empty assets.

They run one after the other, each on an instance of its own, ours over a week that was collected
before. Memory is the sum over all processes, of what they share each one's part (PSS); processor
time is what they used in two minutes without a run. Azurite and the exchange run outside of them.
"""

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from benchmarks.processes import COMMAND, azurite, run
from benchmarks.tables import Measured, print_table
from coinbase_assets_tests.conftest import free_port
from coinbase_assets_tests.exchange import StandInExchange
from coinbase_assets_tests.processes import instance_at, process_environment, quiet_instance

SETTLE, WATCH, LONGEST = 60.0, 120.0, 200.0
AT_MOST = 1.25
# Seconds of each quarter of an hour at which schedules ask for something.
_LIVE, _CHART, _QUARTER, _RUN = 0.0, 300.0, 900.0, 30.0
_EMPTY = """import dagster as dg


@dg.asset
def first() -> None: ...


@dg.asset(deps=[first])
def second() -> None: ...
"""


class Idle(NamedTuple):
    """Megabytes at the end of the watch, and seconds of processor time during it."""

    megabytes: float
    seconds: float


def main(runs: int) -> None:
    """Print the tables, of one run each however many are asked for: a run takes three minutes."""
    with tempfile.TemporaryDirectory() as name:
        folder, measured = Path(name), dict[str, Idle]()
        contenders = [_ours, _theirs] if _until_quiet() == 0 else [_theirs, _ours]
        for contender in contenders:
            measured[contender.__name__] = contender(folder)
    ours, theirs = measured[_ours.__name__], measured[_theirs.__name__]
    names = "coinbase-assets dev", "dagster dev, two empty assets"
    for what, unit, values in (
        ("memory of an idle `make dev`", "MB", (ours.megabytes, theirs.megabytes)),
        (f"processor time of it in {WATCH:.0f} s", "s", (ours.seconds, theirs.seconds)),
    ):
        one, other = ([value] for value in values)
        print_table(
            f"{what}, Azurite excluded",
            Measured(names[0], one),
            Measured(names[1], other, at_most=AT_MOST),
            unit=unit,
        )


def _ours(folder: Path) -> Idle:
    home = quiet_instance(folder / "ours")
    with StandInExchange() as exchange, azurite(folder) as storage:
        environment = process_environment(
            home, AZURE_STORAGE_CONNECTION_STRING=storage, COINBASE_API_URL=exchange.url
        )
        run([COMMAND, "collect"], environment, folder)
        time.sleep(_until_quiet())
        return _watch([COMMAND, "dev", "--port", str(free_port())], environment, folder)


def _theirs(folder: Path) -> Idle:
    file, home = folder / "two_assets.py", folder / "theirs"
    file.write_text(_EMPTY)
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    command = [str(Path(sys.executable).with_name("dagster")), "dev", "-f", str(file)]
    return _watch([*command, "--port", str(free_port())], process_environment(home), folder)


def _watch(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Idle:
    """Start it, let it settle, watch it, end it. Raises AssertionError if something ran then."""
    process = subprocess.Popen(
        command,
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        time.sleep(SETTLE)
        before = _processor_seconds(process.pid)
        time.sleep(WATCH)
        seconds = _processor_seconds(process.pid) - before
        megabytes = sum(one.memory_full_info().pss for one in _tree(process.pid)) / 1024**2
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()
    with instance_at(environment["DAGSTER_HOME"]) as instance:
        last = max(
            (run.update_timestamp.timestamp() for run in instance.get_run_records()), default=0.0
        )
    assert time.time() - last > WATCH, "a run was under way; measure again"
    return Idle(megabytes, seconds)


def _tree(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def _processor_seconds(pid: int) -> float:
    """Of all its processes, and of those that ended."""
    times = [one.cpu_times() for one in _tree(pid)]
    return sum(one.user + one.system + one.children_user + one.children_system for one in times)


def _until_quiet() -> float:
    """Seconds until so long before the next run of a schedule that all can be measured."""
    into = time.time() % _QUARTER
    for busy, following in ((_LIVE, _CHART), (_CHART, _QUARTER)):
        if into < following - LONGEST:
            return max(0.0, busy + _RUN - into)
    return _QUARTER + _RUN - into
