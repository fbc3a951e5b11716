"""The embedded Azurite: Microsoft's Azure emulator, run by Node from a Python package, no Docker.

It is installed once per user. The first process that needs it starts it, and the last process to
leave stops it. File locks count the processes, because the kernel releases them even when a process
is killed.

The server has a second account, whose name stands for its data folder. So any process can ask over
HTTP whether an Azurite keeps its data in a certain folder: no other Azurite knows the account.
"""

import os
import platform
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto
from hashlib import sha256
from pathlib import Path

import httpx

from coinbase_assets.file_locks import exclusive, is_held, open_lock, share, try_exclusive
from coinbase_assets.local_sockets import listening_users
from coinbase_assets.private_folders import private_folder
from coinbase_assets.storage.azurite_account import create_account, find_account
from coinbase_assets.storage.azurite_process import azurite_options, launch, signal_azurite
from coinbase_assets.storage.azurite_program import (
    cache_folder,
    installed_azurite,
    installed_node,
    writable_folder,
)
from coinbase_assets.storage.errors import AzuriteError

PORT = 10000
_START_SECONDS = 30
_STOP_SECONDS = 10


@contextmanager
def running_azurite(data: Path, port: int = PORT) -> Iterator[str]:
    """Run Azurite's blob service on 127.0.0.1:`port` until the end of the block.

    Yields the connection string of its account. It keeps its data in the folder `data`, and is
    stopped when the last process leaves its block. Raises AzuriteError, also if an Azurite with
    another data folder uses the port.
    """
    server = _Server(port, data.resolve())
    server.prepare()
    with open_lock(server.users) as users:
        try:
            with exclusive(server.changing):
                if try_exclusive(users):
                    server.stop_leftover()
                share(users)
                server.start()
            yield server.connection_string()
        finally:
            with exclusive(server.changing):
                if try_exclusive(users):
                    server.stop()


def find_running(data: Path, port: int = PORT) -> str | None:
    """Return the connection string of the Azurite that runs for this data folder, if one does."""
    server = _Server(port, data.resolve())
    return server.connection_string() if server.is_running() else None


class _Listener(Enum):
    """What listens on a port."""

    NOTHING = auto()
    OURS = auto()
    OTHER_AZURITE = auto()
    NO_AZURITE = auto()
    OTHER_USER = auto()


class _Server:
    """Azurite on a port, and the files that its users share.

    Users share the lock `users`, and hold `changing` while they start or stop the server.
    The server process itself holds the locks `_alive` and `_data_lock` for as long as it runs.
    """

    def __init__(self, port: int, data: Path) -> None:
        self._port = port
        self._data = data
        folder = cache_folder(f"azurite-{port}-{_network()}")
        self.users = folder / "users.lock"
        self.changing = folder / "changing.lock"
        self._alive = folder / "alive.lock"
        self._pid = folder / "pid"
        self._data_of_running = folder / "data"
        self._log = data / "azurite.log"
        self._data_lock = data / "in-use.lock"

    def connection_string(self) -> str:
        account = find_account(self._data)
        assert account
        return account.connection_string(self._port)

    def is_running(self) -> bool:
        return self._listener() is _Listener.OURS

    def prepare(self) -> None:
        """Install Azurite, if it will be needed, before a lock is held that others wait for."""
        if self._listener() is _Listener.NOTHING:
            installed_azurite()

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
        command = [str(node), str(program), *azurite_options(self._port, self._data)]
        writable_folder(self._data, "copy the project to a folder of your own")
        private_folder(self._data)
        account = find_account(self._data) or create_account(self._data)
        environment = os.environ | {"AZURITE_ACCOUNTS": account.accounts}
        # With it, Azurite would keep the data elsewhere.
        environment.pop("AZURITE_DB", None)
        with open_lock(self._alive) as alive, open_lock(self._data_lock) as in_use:
            try_exclusive(alive)
            if not try_exclusive(in_use):
                raise AzuriteError(
                    f"{self._data} is in use by an Azurite on another port or in another"
                    " container; stop it, or set AZURE_STORAGE_CONNECTION_STRING to use it"
                )
            self._data_of_running.write_text(str(self._data))
            launch(command, self._log, self._pid, [alive, in_use], environment)

    def stop_leftover(self) -> None:
        """Stop a server that a killed process has left behind, unless it serves the data."""
        if is_held(self._alive) and self._listener() is not _Listener.OURS:
            self.stop()

    def stop(self) -> None:
        """Stop the server if this module started it: by SIGTERM, then by SIGKILL."""
        for signal_number in (signal.SIGTERM, signal.SIGKILL):
            give_up = time.monotonic() + _STOP_SECONDS
            if is_held(self._alive) and not signal_azurite(self._pid, self._port, signal_number):
                return
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
        if listener is _Listener.OTHER_USER:
            raise AzuriteError(
                f"port {self._port} on 127.0.0.1 is used by a program of another user of this"
                " machine, who would get the data; stop it, or set AZURE_STORAGE_CONNECTION_STRING"
                " to your storage account"
            )
        if listener is _Listener.OTHER_AZURITE:
            raise AzuriteError(f"port {self._port} on 127.0.0.1 is used by {self._other_azurite()}")
        return listener is _Listener.OURS

    def _other_azurite(self) -> str:
        """Return what is known of the Azurite on the port, and how to use it."""
        if is_held(self._alive) and self._data_of_running.exists():
            return (
                f"an Azurite with its data in {self._data_of_running.read_text()}, not in"
                f" {self._data}; stop it, or set AZURE_STORAGE_CONNECTION_STRING to what"
                " `coinbase-assets azurite` prints there"
            )
        return (
            f"an Azurite that was not started for the data in {self._data}; stop it, or set"
            " AZURE_STORAGE_CONNECTION_STRING=UseDevelopmentStorage=true to use it"
        )

    def _listener(self) -> _Listener:
        account = find_account(self._data)
        marker = account.marker if account else "unknown"
        url = f"http://127.0.0.1:{self._port}/{marker}?comp=list"
        try:
            answer = httpx.get(url, timeout=5, trust_env=False)
        except httpx.ConnectError:
            return _Listener.NOTHING
        except httpx.HTTPError:
            return _Listener.NO_AZURITE
        if not answer.headers.get("Server", "").startswith("Azurite-Blob"):
            return _Listener.NO_AZURITE
        # Azurite refuses anonymous requests to accounts that it has, and does not find others.
        if not account or answer.status_code != httpx.codes.FORBIDDEN:
            return _Listener.OTHER_AZURITE
        # Anybody can answer like Azurite.
        return _Listener.OURS if self._is_of_this_user() else _Listener.OTHER_USER

    def _is_of_this_user(self) -> bool:
        users = listening_users(self._port)
        return users == {os.geteuid()} if users else is_held(self._alive)


def _network() -> str:
    """Return a name of this machine's or container's network, where 127.0.0.1 is the same."""
    namespace = Path("/proc/self/ns/net")
    inode = namespace.stat().st_ino if namespace.exists() else 0
    return sha256(f"{platform.node()} {inode}".encode()).hexdigest()[:8]
