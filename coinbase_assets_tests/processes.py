"""Run the project's commands in a test as users do: each in a process."""

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

from coinbase_assets.dagster_instance.instance_config import template
from coinbase_assets.settings import Settings

PROJECT = Path(__file__).resolve().parents[1]
_SCRIPTS = Path(sys.executable).parent
_SECONDS = 120.0

Process = subprocess.Popen[str]
Start = Callable[..., Process]


def process_environment(home: Path, **settings: str) -> dict[str, str]:
    """Return an environment with these settings and the Dagster instance at `home`.

    The other settings are empty, which counts as unset, so that no `.env` sets them.
    """
    names = (str(field.alias) for field in Settings.model_fields.values())
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, **dict.fromkeys(names, ""), "DAGSTER_HOME": str(home), **settings}


def quiet_instance(home: Path) -> Path:
    """Make the folder of a new Dagster instance, configured like the project's."""
    home.mkdir()
    shutil.copy(template(), home)
    return home


@contextmanager
def instance_at(home: str) -> Iterator[dg.DagsterInstance]:
    """Open the Dagster instance of a command that ran or runs with this DAGSTER_HOME."""
    with patch.dict(os.environ, DAGSTER_HOME=home), dg.DagsterInstance.from_config(home) as found:
        yield found


@contextmanager
def processes(folder: Path) -> Iterator[Start]:
    """Yield a function that starts scripts. At the end, kill those that still run.

    They start in `folder`, because Dagster reads the `.env` of the folder where it starts.
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
    """Wait until the process ends, and return its output."""
    output, errors = process.communicate(timeout=_SECONDS)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def end_with_children(process: Process) -> None:
    """Kill the process and its children unless it has ended, and print its errors."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        print(process.communicate()[1], file=sys.stderr)
    with process:
        process.wait()
