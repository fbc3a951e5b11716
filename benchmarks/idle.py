"""What an idle `make dev` takes, beside `dagster dev` over two empty assets.

They run one after the other, each on an instance of its own, ours over a week that was collected
before. Memory is the sum over all processes, of what they share each one's part (PSS); processor
time is what they used in a minute without a run. Azurite and the exchange run outside of them.
"""

import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.process_trees import megabytes, processor_seconds, started
from benchmarks.processes import COMMAND, azurite, run
from benchmarks.tables import Measured, print_table
from coinbase_assets_tests.conftest import free_port
from coinbase_assets_tests.processes import (
    instance_at,
    process_environment,
    quiet_instance,
)
from coinbase_assets_tests.stand_in.exchange import StandInExchange

SETTLE, WATCH = 60.0, 60.0
AT_MOST = 1.25
# Of a core's time.
LIMIT = 0.02
# Schedules ask for something until so many seconds into each quarter of an hour.
_BUSY_UNTIL, _QUARTER = 330.0, 900.0
_MOST_WATCHES = 8
_EMPTY = """import dagster as dg


@dg.asset
def first() -> None: ...


@dg.asset(deps=[first])
def second() -> None: ...
"""


class Idle(NamedTuple):
    """Megabytes at the end of each watch, and seconds of processor time during it."""

    megabytes: list[float]
    seconds: list[float]


def main(runs: int) -> None:
    """Print the tables, of so many watches of one start each, but of no more than 8."""
    watches = min(runs, _MOST_WATCHES)
    with tempfile.TemporaryDirectory() as name:
        ours, theirs = (measure(Path(name), watches) for measure in (_ours, _theirs))
    names = "coinbase-assets dev", "dagster dev, two empty assets"
    of_core = LIMIT * WATCH
    for what, unit, limit, values in (
        ("memory of an idle `make dev`", "MB", None, (ours.megabytes, theirs.megabytes)),
        (f"processor time of it in {WATCH:.0f} s", "s", of_core, (ours.seconds, theirs.seconds)),
    ):
        print_table(
            f"{what}, Azurite excluded",
            Measured(names[0], values[0], limit=limit),
            Measured(names[1], values[1], at_most=AT_MOST),
            unit=unit,
        )


def _ours(folder: Path, watches: int) -> Idle:
    home = quiet_instance(folder / "ours")
    with StandInExchange() as exchange, azurite(folder) as storage:
        environment = process_environment(
            home, AZURE_STORAGE_CONNECTION_STRING=storage, COINBASE_API_URL=exchange.url
        )
        run([COMMAND, "collect"], environment, folder)
        time.sleep(_until_quiet(SETTLE + watches * WATCH))
        return _watch([COMMAND, "dev", "--port", str(free_port())], environment, folder, watches)


def _theirs(folder: Path, watches: int) -> Idle:
    file, home = folder / "two_assets.py", folder / "theirs"
    file.write_text(_EMPTY)
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    command = [str(Path(sys.executable).with_name("dagster")), "dev", "-f", str(file)]
    command += ["--port", str(free_port())]
    return _watch(command, process_environment(home), folder, watches)


def _watch(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, watches: int
) -> Idle:
    """Start it, let it settle, watch it, end it. Raises AssertionError if something ran then."""
    idle = Idle([], [])
    with started(command, environment, folder) as pid:
        time.sleep(SETTLE)
        for _ in range(watches):
            before = processor_seconds(pid)
            time.sleep(WATCH)
            idle.seconds.append(processor_seconds(pid) - before)
            idle.megabytes.append(megabytes(pid))
    with instance_at(environment["DAGSTER_HOME"]) as instance:
        last = max(
            (run.update_timestamp.timestamp() for run in instance.get_run_records()), default=0.0
        )
    assert time.time() - last > watches * WATCH, "a run was under way; measure again"
    return idle


def _until_quiet(seconds: float) -> float:
    """Seconds until no schedule asks for something for so many seconds."""
    into = time.time() % _QUARTER
    if _BUSY_UNTIL <= into < _QUARTER - seconds:
        return 0.0
    return (_BUSY_UNTIL - into) % _QUARTER
