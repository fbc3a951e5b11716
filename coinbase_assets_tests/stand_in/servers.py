"""Real PostgreSQL and Redis servers on this machine, from the system's packages."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import redis
import tenacity

from coinbase_assets_tests.conftest import free_port

# Debian keeps PostgreSQL's programs off the PATH.
_PATH = os.pathsep.join([os.environ["PATH"], *map(str, Path("/usr/lib/postgresql").glob("*/bin"))])
# PostgreSQL refuses to run as root.
_USER = "nobody" if os.geteuid() == 0 else None


def _needs(program: str, package: str) -> pytest.MarkDecorator:
    reason = f"no {program} on the PATH: apt-get install {package}"
    return pytest.mark.skipif(not shutil.which(program, path=_PATH), reason=reason)


SERVERS = [
    pytest.param("postgres", marks=_needs("postgres", "postgresql")),
    pytest.param("redis", marks=_needs("redis-server", "redis-server")),
]


class Server:
    """A process that answers at `url`."""

    def __init__(self, url: str, command: list[str], folder: Path, ping: Callable[[], object]):
        self.url, self._command, self._folder, self._ping = url, command, folder, ping

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command,
            cwd=self._folder,
            user=_USER,
            env={"PATH": _PATH},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        tenacity.Retrying(
            wait=tenacity.wait_fixed(0.05), stop=tenacity.stop_after_delay(30), reraise=True
        )(self._ping)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.wait()


def _postgres(folder: Path) -> Server:
    """PostgreSQL on a socket in its folder."""
    subprocess.run(
        ["initdb", "--username=me", "--auth=trust", "--no-locale", "--encoding=UTF8", "data"],
        cwd=folder,
        user=_USER,
        env={"PATH": _PATH},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    url = f"postgresql://me@/postgres?host={folder}"
    command = ["postgres", "-D", "data", "-k", str(folder), "-c", "listen_addresses="]
    return Server(url, command, folder, lambda: psycopg.connect(url).close())


def _redis(folder: Path) -> Server:
    """Redis with a password."""
    port = free_port()
    url = f"redis://:correct-horse@127.0.0.1:{port}"
    options = ["--bind", "127.0.0.1", "--save", "", "--requirepass", "correct-horse"]
    command = ["redis-server", "--port", str(port), *options]

    def ping() -> None:
        with redis.Redis.from_url(url) as client:
            client.ping()

    return Server(url, command, folder, ping)


@contextmanager
def running_server(kind: str) -> Iterator[Server]:
    # Not in pytest's folder: that is root's alone, and its path too long for a socket.
    with tempfile.TemporaryDirectory() as name:
        if _USER:
            shutil.chown(name, _USER)
        server = _postgres(Path(name)) if kind == "postgres" else _redis(Path(name))
        try:
            server.start()
            yield server
        finally:
            server.stop()
