"""What a user waits for before anything is asked for: the command line, and 100 series loaded."""

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from benchmarks.processes import COMMAND, run
from benchmarks.tables import Measured, print_table
from coinbase_assets_tests.processes import process_environment

SERIES = 100
LIMIT = 1.0
# What Dagster imports for any code location: its server, and the storages of its instance.
_LOAD = """import time

begin = time.perf_counter()
import dagster._core.storage.event_log.sqlite
import dagster._core.storage.runs.sqlite
import dagster._grpc.server

imported = time.perf_counter()
from coinbase_assets.definitions import defs

defs().get_repository_def()
print(imported - begin, time.perf_counter() - imported)
"""


def main(runs: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = process_environment(
            folder,
            AZURE_STORAGE_CONNECTION_STRING="UseDevelopmentStorage=true",
            COINBASE_SERIES=",".join(f"COIN{number}-USD:1m" for number in range(SERIES)),
        )
        usage = [run([COMMAND, "--help"], environment, folder).seconds for _ in range(runs)]
        loads = [_load(environment) for _ in range(runs)]
    imports, beyond = zip(*loads, strict=True)
    print_table(
        "start-up",
        Measured(
            f"the code location with {SERIES} series, beyond Dagster's own imports",
            beyond,
            limit=LIMIT,
        ),
        Measured("Dagster's own imports", imports),
        Measured("coinbase-assets --help, whole process", usage),
    )


def _load(environment: Mapping[str, str]) -> tuple[float, float]:
    """Seconds of importing Dagster, and of loading the code location then."""
    command = [sys.executable, "-c", _LOAD]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    imported, loaded = map(float, done.stdout.split())
    return imported, loaded
