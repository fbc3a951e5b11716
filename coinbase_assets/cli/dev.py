"""`coinbase-assets dev`: Dagster's web UI, daemon and code server, until Ctrl-C."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import click
import grpc
import httpx

from coinbase_assets.cli.collected import remember_collected_series
from coinbase_assets.cli.supervisor import ServiceError, Services
from coinbase_assets.dagster_instance.opening import creating, open_instance
from coinbase_assets.environment.first_day import read_first_day
from coinbase_assets.file_locks import open_lock, try_exclusive
from coinbase_assets.lake.account import with_storage
from coinbase_assets.settings import Settings

HOST = "127.0.0.1"
_MODULE = "coinbase_assets.definitions"
_LOCATION = "coinbase_assets"
_DAEMON = "coinbase_assets.dagster_instance.daemon"
_WEB_SERVER = "coinbase_assets.web.server"
# Without this, a back-fill fails for good when it meets a code server that is just restarting.
_BACKFILL_RETRIES = {"DAGSTER_BACKFILL_RETRY_DEFINITION_CHANGED_ERROR": "1"}


def run_dev(settings: Settings, port: int) -> None:
    """Run web UI, daemon and code server until Ctrl-C or SIGTERM. Raises ServiceError."""
    os.environ |= _BACKFILL_RETRIES
    os.environ["COINBASE_WEB_URL"] = settings.web_url or f"http://{HOST}:{port}"
    with with_storage(settings) as settings:
        _settle_first_day(settings)
        with open_instance(settings.dagster_home) as instance:
            remember_collected_series(settings, instance)
        _run_until_interrupted(settings.dagster_home, port)


def _settle_first_day(settings: Settings) -> None:
    """Let partitions begin today, if this instance does not know yet where they begin."""
    if settings.start_is_set or not read_first_day(settings.dagster_home):
        # It loads Azure's libraries, which are not needed later.
        from coinbase_assets.cli.partitions_start import remember_first_day

        remember_first_day(settings, datetime.now(UTC).date())


def _run_until_interrupted(home: Path, port: int) -> None:
    with running_dagster(home, port) as services:
        click.echo(f"Dagster's web UI: http://{HOST}:{port} (Ctrl-C ends everything)")
        click.echo("Every series is refreshed every 15 minutes, 1m and 5m candles more often.")
        while True:
            time.sleep(1)
            services.revive()


@contextmanager
def running_dagster(home: Path, port: int) -> Iterator[Services]:
    """Run Dagster's web UI on 127.0.0.1:`port`, its daemon, and one code server for both.

    They use the instance at `home`. Only one process at a time can run them there.
    Raises ServiceError.
    """
    with _home_lock(home) as lock, tempfile.TemporaryDirectory() as folder:
        _check_port_is_free(port)
        _create_instance(home)
        # Elsewhere Dagster would read `.env` by itself, and prefer it to the environment.
        services = Services(lock, home)
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
    services.wait_for(lambda: _is_serving_code(server))
    daemon = ["--workspace", workspace, "--log-level", "error"]
    services.start("daemon", _DAEMON, "run", *daemon)
    services.start("web UI", _WEB_SERVER, "--workspace", workspace, "--port", str(port))
    services.wait_for(lambda: _is_answering(f"http://{HOST}:{port}/server_info"))


def _is_serving_code(socket_: str) -> bool:
    with grpc.insecure_channel(f"unix:{socket_}") as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=1)
        except grpc.FutureTimeoutError:
            return False
        return True


def _is_answering(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False).is_success
    except httpx.TransportError:
        return False


def _create_instance(home: Path) -> None:
    with creating(home):
        command = [sys.executable, "-m", "dagster", "instance", "info"]
        done = subprocess.run(command, cwd=home, capture_output=True, text=True)
    if done.returncode:
        raise ServiceError(
            f"DAGSTER_HOME={home}: Dagster cannot use this folder:"
            f" {' '.join(done.stderr.split())[-300:]}"
        )


def _check_port_is_free(port: int) -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError:
            raise ServiceError(
                f"port {port} on {HOST} is taken; stop what uses it, or give another --port"
            ) from None


@contextmanager
def _home_lock(home: Path) -> Iterator[IO[bytes]]:
    """Hold the lock of `home`; all services inherit it. Raises ServiceError if it is taken."""
    path = home / "dev.lock"
    try:
        lock = open_lock(path)
    except OSError as error:
        raise ServiceError(
            f"DAGSTER_HOME={home}: cannot be used ({error.strerror}); name another folder"
        ) from error
    with lock:
        if not try_exclusive(lock):
            raise ServiceError(
                f"DAGSTER_HOME={home} is in use by another `make dev`"
                f" (processes {path.read_text()}); end it first"
            )
        yield lock
