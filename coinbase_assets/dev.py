"""Dagster's web UI and daemon at work: started, started again when one dies, ended together."""

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import click
import grpc
import httpx

from coinbase_assets.embedded import with_storage
from coinbase_assets.locks import exclusive, open_lock, try_exclusive
from coinbase_assets.settings import Settings, project_folder

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
_MODULE = "coinbase_assets.definitions"
_START_SECONDS = 90.0
_STOP_SECONDS = 15.0
# A process that lives shorter than this is not started again.
_SHORTEST_LIFE = 10.0


class DevError(OSError):
    """Dagster cannot be started, or has ended; the message says why."""


def run_dev(settings: Settings, port: int) -> None:
    """Run all until the process is told to end. Raises DevError."""
    os.environ["DAGSTER_HOME"] = str(settings.dagster_home)
    with with_storage(settings), running_dagster(settings.dagster_home, port) as services:
        click.echo(f"Dagster's web UI: http://{HOST}:{port} (Ctrl-C ends everything)")
        while True:
            time.sleep(1)
            services.revive()


@contextmanager
def running_dagster(home: Path, port: int) -> Iterator["Services"]:
    """Dagster's web UI on 127.0.0.1:`port`, its daemon, and one code server for both.

    They use the instance at `home`, which no other such block may use meanwhile. Raises DevError.
    """
    with _alone(home) as lock, tempfile.TemporaryDirectory() as folder:
        _refuse_taken(port)
        _create_instance(home)
        services = Services(lock)
        socket_, workspace = f"{folder}/code-server.sock", Path(folder) / "workspace.yaml"
        location = f"{{socket: {socket_}, location_name: {_MODULE}}}"
        workspace.write_text(f"load_from:\n  - grpc_server: {location}\n")
        try:
            services.start("code server", "dagster", "api", "grpc", "-m", _MODULE, "-s", socket_)
            services.wait_for(lambda: _serves_code(socket_))
            quiet = ["--log-level", "warning", "--workspace", str(workspace)]
            services.start("daemon", "dagster._daemon", "run", *quiet)
            quiet[0] = "--dagster-log-level"
            services.start("web UI", "dagster_webserver", "-h", HOST, "-p", str(port), *quiet)
            services.wait_for(lambda: _answers(f"http://{HOST}:{port}/server_info"))
            yield services
        finally:
            services.stop()


class Services:
    """Python modules that run together; `lock` is held as long as one of them lives."""

    def __init__(self, lock: IO[bytes]) -> None:
        self._lock = lock
        self._commands: dict[str, list[str]] = {}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._started_at: dict[str, float] = {}
        self._groups: list[int] = []

    def start(self, name: str, module: str, *arguments: str) -> None:
        self._commands[name] = [sys.executable, "-m", module, *arguments]
        self._start(name)

    def _start(self, name: str) -> None:
        process = subprocess.Popen(
            self._commands[name],
            stdin=subprocess.DEVNULL,
            # Ctrl-C reaches this process alone, which then ends them in order.
            start_new_session=True,
            pass_fds=[self._lock.fileno()],
        )
        self._running[name] = process
        self._started_at[name] = time.monotonic()
        self._groups.append(process.pid)
        self._lock.truncate(0)
        self._lock.write(" ".join(str(one.pid) for one in self._running.values()).encode())
        self._lock.flush()

    def wait_for(self, is_ready: Callable[[], bool]) -> None:
        give_up = time.monotonic() + _START_SECONDS
        while not is_ready():
            self.revive()
            if time.monotonic() > give_up:
                raise DevError(f"Dagster did not start within {_START_SECONDS:.0f} seconds")
            time.sleep(0.2)

    def revive(self) -> None:
        """Start again what has died. Raises DevError for what dies at once."""
        for name, process in list(self._running.items()):
            if process.poll() is None:
                continue
            if time.monotonic() - self._started_at[name] < _SHORTEST_LIFE:
                raise DevError(
                    f"Dagster's {name} ended with status {process.returncode}, see above"
                )
            log.warning(
                "Dagster's %s died (status %s): starting it again", name, process.returncode
            )
            self._start(name)

    def stop(self) -> None:
        """End all, also runs under way and what a dead process left behind."""
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


def _serves_code(socket_: str) -> bool:
    with grpc.insecure_channel(f"unix:{socket_}") as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=1)
        except grpc.FutureTimeoutError:
            return False
        return True


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).is_success
    except httpx.TransportError:
        return False


def _create_instance(home: Path) -> None:
    """Dagster itself spoils a new instance that two processes create at once."""
    template = project_folder() / ".dagster" / "dagster.yaml"
    if template.exists() and not (home / "dagster.yaml").exists():
        shutil.copy(template, home)
    with exclusive(home / "creating.lock"):
        command = [sys.executable, "-m", "dagster", "instance", "info"]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise DevError(f"DAGSTER_HOME={home}: cannot be used: {done.stderr.strip()[-300:]}")


def _refuse_taken(port: int) -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError:
            raise DevError(
                f"port {port} on {HOST} is taken; stop what listens there, or give another --port"
            ) from None


@contextmanager
def _alone(home: Path) -> Iterator[IO[bytes]]:
    path = home / "dev.lock"
    with open_lock(path) as lock:
        if not try_exclusive(lock):
            raise DevError(
                f"DAGSTER_HOME={home} is in use by another `make dev`"
                f" (processes {path.read_text()}); end that one first"
            )
        yield lock
