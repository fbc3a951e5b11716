"""What one process writes to the instance of `dagster.yaml` while another reads or wipes it."""

import os
import shutil
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from queue import Queue

import dagster as dg
import pytest
import tenacity

from coinbase_assets_tests.processes import end_with_children, instance_at, quiet_instance

ECHO_RUN = "coinbase_assets_tests.dagster_instance.echo_run"
SECONDS = 30.0


class EchoRun:
    """A run in a process of its own: it logs what it is told to, until it is told to end."""

    def __init__(self, home: Path) -> None:
        self.id = str(uuid.uuid4())
        self.log_file = home / "history" / "runs" / f"{self.id}.db"
        self._process = subprocess.Popen(
            [sys.executable, "-m", ECHO_RUN, self.id],
            env={**os.environ, "DAGSTER_HOME": str(home)},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def log(self, line: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def end(self) -> int:
        """Return the exit status."""
        self._process.communicate(timeout=2 * SECONDS)
        return self._process.returncode

    def kill(self) -> None:
        end_with_children(self._process)

    @tenacity.retry(
        retry=tenacity.retry_if_exception_type((AssertionError, sqlite3.OperationalError)),
        wait=tenacity.wait_fixed(0.2),
        stop=tenacity.stop_after_delay(2 * SECONDS),
        reraise=True,
    )
    def wait_until_stored(self, line: str) -> None:
        assert self._process.poll() is None
        assert line in self.stored()

    def stored(self) -> str:
        """Return all events in the run's file, read through a connection of its own."""
        uri = f"{self.log_file.as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            return "\n".join(text for (text,) in connection.execute("SELECT event FROM event_logs"))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return quiet_instance(tmp_path / "home")


@pytest.fixture
def run(home: Path) -> Iterator[EchoRun]:
    """A run under way that has logged a line."""
    run = EchoRun(home)
    try:
        run.log("the first line")
        run.wait_until_stored("the first line")
        yield run
    finally:
        run.kill()


@pytest.mark.soak
def test_lines_of_a_run_arrive_while_it_goes_on(home: Path, run: EchoRun) -> None:
    """As on the run's page of the web UI, which watches the log in this way."""
    arrived: Queue[str] = Queue()

    def put(event: dg.EventLogEntry, cursor: str) -> None:
        arrived.put(event.user_message)

    with instance_at(str(home)) as instance:
        instance.all_logs(run.id)
        instance.watch_event_logs(run.id, None, put)
        for line in ("a second line", "a third line", "a fourth line"):
            run.log(line)
            while arrived.get(timeout=SECONDS) != line:
                pass
        assert run.end() == 0
        while not arrived.get(timeout=SECONDS).startswith("Finished execution of run"):
            pass


def wipe(instance: dg.DagsterInstance) -> None:
    instance.wipe()


def delete_history(instance: dg.DagsterInstance) -> None:
    shutil.rmtree(Path(instance.root_directory, "history"))


@pytest.mark.parametrize("remove", [wipe, pytest.param(delete_history, marks=pytest.mark.soak)])
def test_what_is_written_after_a_removal_is_not_lost_silently(
    home: Path, run: EchoRun, remove: Callable[[dg.DagsterInstance], None]
) -> None:
    with instance_at(str(home)) as instance:
        remove(instance)
    run.log("written after it")
    assert run.end() != 0 or "written after it" in run.stored()
