"""A group of processes: restarted when one dies, ended together, never left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from coinbase_assets.cli.supervisor import ServiceError, Services
from coinbase_assets.file_locks import is_held, open_lock, try_exclusive

# Starts a service and waits to be killed. Its argument is the path of the lock.
PARENT = """
import sys, time
from pathlib import Path
from coinbase_assets.file_locks import open_lock, try_exclusive
from coinbase_assets.cli.supervisor import Services

lock = open_lock(Path(sys.argv[1]))
try_exclusive(lock)
Services(lock, Path()).start("service", "http.server", "--bind", "127.0.0.1", "0")
print("started", flush=True)
time.sleep(600)
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "lock"


@pytest.fixture
def services(lock: Path) -> Iterator[Services]:
    with open_lock(lock) as file:
        try_exclusive(file)
        services = Services(file, lock.parent)
        yield services
        services.stop()


def start(services: Services, name: str = "service") -> None:
    services.start(name, "http.server", "--bind", "127.0.0.1", "0")


def pids(lock: Path) -> list[int]:
    """Return the ids of the processes that hold the lock, this process first."""
    return [int(pid) for pid in lock.read_text().split()]


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_services_run_in_their_folder(services: Services, lock: Path) -> None:
    """Dagster would read the `.env` of the folder that the user is in, and prefer it."""
    start(services)
    assert Path(f"/proc/{pids(lock)[1]}/cwd").resolve() == lock.parent


def wait_until_free(lock: Path) -> bool:
    give_up = time.monotonic() + 30
    while is_held(lock) and time.monotonic() < give_up:
        time.sleep(0.05)
    return not is_held(lock)


def test_services_restart_killed_process(services: Services, lock: Path) -> None:
    start(services)
    killed = pids(lock)[1]
    os.kill(killed, signal.SIGKILL)
    services.wait_for(lambda: pids(lock)[1] != killed)
    assert is_alive(pids(lock)[1])


def test_services_report_process_failing_at_start(services: Services) -> None:
    services.start("web UI", "no_such_module")
    with pytest.raises(ServiceError, match="Dagster's web UI ended with status 1"):
        services.wait_for(lambda: False)


def test_services_stop_all(services: Services, lock: Path) -> None:
    for name in ("one", "two"):
        start(services, name)
    own, *started = pids(lock)
    assert own == os.getpid()
    services.stop()
    assert [is_alive(pid) for pid in started] == [False, False]


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux can kill a process when its parent ends"
)
def test_services_die_with_parent(lock: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(lock)], stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout
        assert parent.stdout.readline() == "started\n"
        parent.kill()
    assert wait_until_free(lock)
