"""`coinbase-assets dev`: Dagster's web UI, daemon and code server, until Ctrl-C."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import click
import grpc
import httpx

from coinbase_assets.cli.supervisor import ServiceError, Services
from coinbase_assets.dagster_instance.opening import creating
from coinbase_assets.dagster_instance.private_names import DAEMON_MODULE
from coinbase_assets.file_locks import open_lock, try_exclusive
from coinbase_assets.lake.account import with_storage
from coinbase_assets.settings import Settings

HOST = "127.0.0.1"
_MODULE = "coinbase_assets.definitions"
_LOCATION = "coinbase_assets"
# Else a back-fill that finds no code server, because that is starting again, fails for good.
_PATIENCE = {"DAGSTER_BACKFILL_RETRY_DEFINITION_CHANGED_ERROR": "1"}


def run_dev(settings: Settings, port: int) -> None:
    """Run all until the process is told to end. Raises ServiceError."""
    os.environ |= _PATIENCE
    with with_storage(settings), running_dagster(settings.dagster_home, port) as services:
        click.echo(f"Dagster's web UI: http://{HOST}:{port} (Ctrl-C ends everything)")
        click.echo("The open day is refreshed every 15 minutes, finer series at every step.")
        while True:
            time.sleep(1)
            services.revive()


@contextmanager
def running_dagster(home: Path, port: int) -> Iterator[Services]:
    """Dagster's web UI on 127.0.0.1:`port`, its daemon, and one code server for both.

    They use the instance at `home`, which no other such block may use meanwhile.
    Raises ServiceError.
    """
    with _alone(home) as lock, tempfile.TemporaryDirectory() as folder:
        _refuse_taken(port)
        _create_instance(home)
        services = Services(lock)
        try:
            _start(services, Path(folder), port)
            yield services
        finally:
            services.stop()


def _start(services: Services, folder: Path, port: int) -> None:
    server, workspace = str(folder / "code-server.sock"), str(folder / "workspace.yaml")
    location = f"{{socket: {server}, location_name: {_LOCATION}}}"
    Path(workspace).write_text(f"load_from:\n  - grpc_server: {location}\n")
    code = ["-m", _MODULE, "--socket", server, "--log-level", "error"]
    services.start("code server", "dagster", "api", "grpc", *code)
    services.wait_for(lambda: _serves_code(server))
    daemon = ["--workspace", workspace, "--log-level", "error"]
    services.start("daemon", DAEMON_MODULE, "run", *daemon)
    web = ["--host", HOST, "--port", str(port), "--dagster-log-level", "error"]
    services.start("web UI", "dagster_webserver", "--workspace", workspace, *web)
    services.wait_for(lambda: _answers(f"http://{HOST}:{port}/server_info"))


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
    with creating(home):
        command = [sys.executable, "-m", "dagster", "instance", "info"]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ServiceError(
            f"DAGSTER_HOME={home}: cannot be used: {' '.join(done.stderr.split())[-300:]}"
        )


def _refuse_taken(port: int) -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError:
            raise ServiceError(
                f"port {port} on {HOST} is taken; stop what listens there, or give another --port"
            ) from None


@contextmanager
def _alone(home: Path) -> Iterator[IO[bytes]]:
    path = home / "dev.lock"
    try:
        lock = open_lock(path)
    except OSError as error:
        raise ServiceError(f"DAGSTER_HOME={home}: cannot be used ({error.strerror})") from error
    with lock:
        if not try_exclusive(lock):
            raise ServiceError(
                f"DAGSTER_HOME={home} is in use by another `make dev`"
                f" (processes {path.read_text()}); end that one first"
            )
        yield lock
