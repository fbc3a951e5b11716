"""A group of processes: start them, restart one that dies, end them all together."""

import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

log = logging.getLogger(__name__)

_START_SECONDS = 90.0
_STOP_SECONDS = 15.0
# A process that fails sooner than this is not started again.
_SHORTEST_LIFE = 10.0
# From <sys/prctl.h>.
_PR_SET_PDEATHSIG = 1


class ServiceError(OSError):
    """Dagster cannot be started, or has ended. The message says why."""


class Services:
    """Python modules, each in a process that runs in `folder`.

    All inherit `lock`; it is held while any is alive.
    """

    def __init__(self, lock: IO[bytes], folder: Path) -> None:
        self._lock = lock
        self._folder = folder
        self._commands: dict[str, list[str]] = {}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._started_at: dict[str, float] = {}
        self._groups: list[int] = []
        self._name_processes()

    def start(self, name: str, module: str, *arguments: str) -> None:
        self._commands[name] = [sys.executable, "-m", module, *arguments]
        self._start(name)

    def _start(self, name: str) -> None:
        process = subprocess.Popen(
            self._commands[name],
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            # Ctrl-C reaches only this process, which then ends the others.
            start_new_session=True,
            pass_fds=[self._lock.fileno()],
            preexec_fn=_die_with_parent,
        )
        self._running[name] = process
        self._started_at[name] = time.monotonic()
        self._groups.append(process.pid)
        self._name_processes()

    def _name_processes(self) -> None:
        """Write the ids of the processes into the lock file."""
        pids = [os.getpid(), *(process.pid for process in self._running.values())]
        self._lock.truncate(0)
        self._lock.write(" ".join(map(str, pids)).encode())
        self._lock.flush()

    def wait_for(self, is_ready: Callable[[], bool]) -> None:
        """Wait until `is_ready()`. Raises ServiceError after 90 seconds, or if a process fails."""
        give_up = time.monotonic() + _START_SECONDS
        while not is_ready():
            self.revive()
            if time.monotonic() > give_up:
                raise ServiceError(f"Dagster did not start within {_START_SECONDS:.0f} seconds")
            time.sleep(0.2)

    def revive(self) -> None:
        """Restart the processes that have died. Raises ServiceError if one failed at its start."""
        for name, process in list(self._running.items()):
            status = process.poll()
            if status is None:
                continue
            if status > 0 and time.monotonic() - self._started_at[name] < _SHORTEST_LIFE:
                raise ServiceError(
                    f"Dagster's {name} ended with status {status}; its output is above"
                )
            log.warning("Dagster's %s ended with status %d; restarting it", name, status)
            self._start(name)

    def stop(self) -> None:
        """End all processes and their children, including runs that are under way."""
        try:
            for process in self._running.values():
                process.send_signal(signal.SIGINT)
            give_up = time.monotonic() + _STOP_SECONDS
            for process in self._running.values():
                with suppress(subprocess.TimeoutExpired):
                    process.wait(max(0.0, give_up - time.monotonic()))
        finally:
            for group in self._groups:
                with suppress(ProcessLookupError):
                    os.killpg(group, signal.SIGKILL)


def _die_with_parent() -> None:
    """Ask Linux to kill this process when its parent ends for any reason."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
