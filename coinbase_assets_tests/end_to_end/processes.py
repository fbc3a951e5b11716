"""Running the project's commands in a test as users do: in processes of their own."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import dagster as dg

from coinbase_assets.settings import Settings

PROJECT = Path(__file__).resolve().parents[2]
_SCRIPTS = Path(sys.executable).parent
_SECONDS = 120.0

Process = subprocess.Popen[str]
Start = Callable[..., Process]


def process_environment(home: Path, **settings: str) -> dict[str, str]:
    """These settings, a Dagster instance at `home`, and of this process's environment the least.

    The other settings are there and empty, which counts as unset, so that no `.env` sets them.
    """
    names = (str(field.alias) for field in Settings.model_fields.values())
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, **dict.fromkeys(names, ""), "DAGSTER_HOME": str(home), **settings}


def quiet_instance(home: Path) -> Path:
    """The folder of a new Dagster instance as the project has it, which sends no statistics."""
    home.mkdir()
    shutil.copy(PROJECT / ".dagster" / "dagster.yaml", home)
    return home


@contextmanager
def instance_at(home: str) -> Iterator[dg.DagsterInstance]:
    """The Dagster instance of a command that ran or runs with this DAGSTER_HOME."""
    with patch.dict(os.environ, DAGSTER_HOME=home), dg.DagsterInstance.from_config(home) as found:
        yield found


@contextmanager
def processes(folder: Path) -> Iterator[Start]:
    """Gives a function that starts scripts; ends what still runs at the end and shows its errors.

    They start in `folder`, not in the project's, since Dagster prefers the `.env` there.
    """
    started: list[Process] = []

    def start(script: str, *arguments: str, environment: Mapping[str, str]) -> Process:
        process = subprocess.Popen(
            [str(_SCRIPTS / script), *arguments],
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    try:
        yield start
    finally:
        for process in started:
            end_with_children(process)


def finish(process: Process) -> subprocess.CompletedProcess[str]:
    """What the process said, once it has ended."""
    output, errors = process.communicate(timeout=_SECONDS)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def end_with_children(process: Process) -> None:
    """Kill the process and its children, unless it has ended, and print what it complained of."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        print(process.communicate()[1], file=sys.stderr)
    with process:
        process.wait()
