"""A second host on this machine: namespaces of its network, name and folders, and a cable."""

import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer

import pytest

needs_namespaces = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("ip"),
    reason="network namespaces need root and `ip`: apt-get install iproute2",
)
THIS, OTHER = "10.77.0.1", "10.77.0.2"
# IP_FREEBIND, which Python's socket module lacks.
_FREEBIND = 15
_NAME, _CABLE = "candles", "candles0"


class OtherHost:
    """A host at the address OTHER, which reaches this one at THIS while its cable is plugged."""

    def command(self, *words: str, name: str, volume: Path, at: Path) -> list[str]:
        """Return the command as the host `name` runs it, which has the folder `volume` there."""
        prepared = 'hostname "$1" && mount --bind "$2" "$3" && shift 3 && exec "$@"'
        inside = ("unshare", "--mount", "--uts", "sh", "-c", prepared, "sh")
        outside = (str(shutil.which("ip")), "netns", "exec", _NAME)
        return [*outside, *inside, name, str(volume), str(at), *words]

    def plug(self) -> None:
        _ip(f"link add {_CABLE} type veth peer name eth0 netns {_NAME}")
        _ip(f"address add {THIS}/24 dev {_CABLE}")
        _ip(f"link set {_CABLE} up")
        _ip(f"-n {_NAME} address add {OTHER}/24 dev eth0")
        _ip(f"-n {_NAME} link set eth0 up")
        _ip(f"-n {_NAME} link set lo up")

    def die(self) -> None:
        """Pull the cable, then kill all processes: nobody hears that their connections end."""
        _ip(f"link delete {_CABLE}")
        self.kill_all()

    def kill_all(self) -> None:
        for process in _ip(f"netns pids {_NAME}").split():
            with suppress(ProcessLookupError):
                os.kill(int(process), signal.SIGKILL)


@contextmanager
def other_host() -> Iterator[OtherHost]:
    _ip(f"netns add {_NAME}")
    host = OtherHost()
    try:
        yield host
    finally:
        host.kill_all()
        # It is gone already if the test ended with a dead host.
        with suppress(subprocess.CalledProcessError):
            _ip(f"link delete {_CABLE}")
        _ip(f"netns delete {_NAME}")


def _ip(arguments: str) -> str:
    command = ["ip", *arguments.split()]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


@contextmanager
def relayed(connect: Callable[[], socket.socket], port: int) -> Iterator[None]:
    """Bring connections to THIS and the port to a server that listens on this host alone."""

    class Relay(BaseRequestHandler):
        def handle(self) -> None:
            with connect() as target:
                answers = threading.Thread(target=_pass_on, args=(target, self.request))
                answers.start()
                _pass_on(self.request, target)
                answers.join()

    class Server(ThreadingTCPServer):
        daemon_threads, allow_reuse_address, block_on_close = True, True, False
        request_queue_size = 100

        def server_bind(self) -> None:
            # The address is this host's only while the cable is plugged.
            self.socket.setsockopt(socket.IPPROTO_IP, _FREEBIND, 1)
            super().server_bind()

    with Server((THIS, port), Relay) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while content := source.recv(1 << 16):
            target.sendall(content)
        target.shutdown(socket.SHUT_WR)
