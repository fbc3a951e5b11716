"""The embedded Azurite: Microsoft's Azure emulator, run by Node from a Python package, no Docker.

It is installed once per user. The first process that needs it starts it, and the last process to
leave stops it. File locks count the processes, because the kernel releases them even when a process
is killed.

The server has a second account, whose name stands for its data folder. So any process can ask over
HTTP whether an Azurite keeps its data in a certain folder: no other Azurite knows the account.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto
from hashlib import sha256
from pathlib import Path

import httpx

from coinbase_assets.file_locks import exclusive, is_held, open_lock, share, try_exclusive
from coinbase_assets.storage.azurite_program import (
    cache_folder,
    installed_azurite,
    installed_node,
    writable_folder,
)
from coinbase_assets.storage.errors import AzuriteError

PORT = 10000
# Published by Microsoft, and the same for every emulator.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_ACCOUNT = "devstoreaccount1"
_START_SECONDS = 30
_STOP_SECONDS = 10
# The arguments of this shell script: the log file, the file for the process id, and the command.
_LAUNCH = 'pid=$1; shift; "$@" </dev/null >>"$0" 2>&1 & echo $! >"$pid"'


@contextmanager
def running_azurite(data: Path, port: int = PORT) -> Iterator[None]:
    """Run Azurite's blob service on 127.0.0.1:`port` until the end of the block.

    It keeps its data in the folder `data`, and is stopped when the last process leaves its block.
    Raises AzuriteError, also if an Azurite with another data folder uses the port.
    """
    server = _Server(port, data.resolve())
    with open_lock(server.users) as users:
        try:
            with exclusive(server.changing):
                if try_exclusive(users):
                    server.stop_leftover()
                share(users)
                server.start()
            yield
        finally:
            with exclusive(server.changing):
                if try_exclusive(users):
                    server.stop()


class _Listener(Enum):
    """What listens on a port."""

    NOTHING = auto()
    OURS = auto()
    OTHER_AZURITE = auto()
    NO_AZURITE = auto()


class _Server:
    """Azurite on a port, and the files that its users share.

    Users share the lock `users`, and hold `changing` while they start or stop the server.
    The server process itself holds the lock `_alive` for as long as it runs.
    """

    def __init__(self, port: int, data: Path) -> None:
        self._port = port
        self._data = data
        folder = cache_folder(f"azurite-{port}")
        self.users = folder / "users.lock"
        self.changing = folder / "changing.lock"
        self._alive = folder / "alive.lock"
        self._pid = folder / "pid"
        self._data_of_running = folder / "data"
        self._log = data / "azurite.log"

    def start(self) -> None:
        """Start the server unless it runs, and wait until it answers. Raises AzuriteError."""
        if self._is_answering():
            return
        if not is_held(self._alive):
            self._launch()
        give_up = time.monotonic() + _START_SECONDS
        while not self._is_answering():
            if not is_held(self._alive) or time.monotonic() > give_up:
                raise AzuriteError(f"Azurite did not start; see {self._log}")
            time.sleep(0.1)

    def _launch(self) -> None:
        node, program = installed_node(), installed_azurite()
        command = [str(node), str(program), "--silent", "--skipApiVersionCheck"]
        command += ["--disableTelemetry", "--blobHost", "127.0.0.1"]
        command += ["--blobPort", str(self._port), "--location", str(self._data)]
        writable_folder(self._data, "copy the project to a folder of your own")
        with open_lock(self._alive) as alive:
            try_exclusive(alive)
            self._data_of_running.write_text(str(self._data))
            # The shell exits at once, so that the server is not a child of this process.
            subprocess.run(
                ["sh", "-c", _LAUNCH, str(self._log), str(self._pid), *command],
                start_new_session=True,
                pass_fds=[alive.fileno()],
                env=_environment(self._data),
                check=True,
            )

    def stop_leftover(self) -> None:
        """Stop a server that a killed process has left behind, unless it serves the data."""
        if is_held(self._alive) and self._listener() is not _Listener.OURS:
            self.stop()

    def stop(self) -> None:
        """Stop the server if this module started it: by SIGTERM, then by SIGKILL."""
        for signal_number in (signal.SIGTERM, signal.SIGKILL):
            give_up = time.monotonic() + _STOP_SECONDS
            if is_held(self._alive):
                os.kill(int(self._pid.read_text()), signal_number)
            while is_held(self._alive) and time.monotonic() < give_up:
                time.sleep(0.05)

    def _is_answering(self) -> bool:
        """Whether Azurite answers for the data folder. Raises AzuriteError if another does."""
        listener = self._listener()
        if listener is _Listener.NO_AZURITE:
            raise AzuriteError(
                f"port {self._port} on 127.0.0.1 is used by a program that is not Azurite;"
                " stop it, or set AZURE_STORAGE_CONNECTION_STRING to your storage account"
            )
        if listener is _Listener.OTHER_AZURITE:
            raise AzuriteError(
                f"port {self._port} on 127.0.0.1 is used by an Azurite {self._other_folder()};"
                " stop it, or set AZURE_STORAGE_CONNECTION_STRING=UseDevelopmentStorage=true to use"
                " it"
            )
        return listener is _Listener.OURS

    def _other_folder(self) -> str:
        if is_held(self._alive) and self._data_of_running.exists():
            return f"with its data in {self._data_of_running.read_text()}, not in {self._data}"
        return f"that was not started for the data in {self._data}"

    def _listener(self) -> _Listener:
        url = f"http://127.0.0.1:{self._port}/{_marker(self._data)}?comp=list"
        try:
            answer = httpx.get(url, timeout=5, trust_env=False)
        except httpx.ConnectError:
            return _Listener.NOTHING
        except httpx.HTTPError:
            return _Listener.NO_AZURITE
        if not answer.headers.get("Server", "").startswith("Azurite-Blob"):
            return _Listener.NO_AZURITE
        # Azurite refuses anonymous requests to accounts that it has, and does not find others.
        is_known = answer.status_code == httpx.codes.FORBIDDEN
        return _Listener.OURS if is_known else _Listener.OTHER_AZURITE


def _environment(data: Path) -> dict[str, str]:
    """Return the environment of an Azurite that keeps its data in the folder.

    It has the accounts that Azurite itself has by default or by AZURITE_ACCOUNTS, and the marker.
    With AZURITE_DB it would keep the data elsewhere.
    """
    given = os.environ.get("AZURITE_ACCOUNTS", "").strip().split(";")
    accounts = [account for account in given if account.count(":") in (1, 2)]
    accounts += [f"{_ACCOUNT}:{KEY}", f"{_marker(data)}:{KEY}"]
    environment = os.environ | {"AZURITE_ACCOUNTS": ";".join(accounts)}
    environment.pop("AZURITE_DB", None)
    return environment


def _marker(data: Path) -> str:
    """Return the name of the account that only an Azurite with its data in this folder has.

    Containers that share a network may have the same path, but not the same device and inode.
    """
    status = data.stat() if data.exists() else None
    identity = f"{data} {status and (status.st_dev, status.st_ino)}"
    return f"data{sha256(os.fsencode(identity)).hexdigest()[:20]}"
