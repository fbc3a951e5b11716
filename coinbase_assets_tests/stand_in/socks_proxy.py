"""A SOCKS5 proxy that brings every connection to one server on this machine."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socketserver import StreamRequestHandler, ThreadingTCPServer

_VERSION, _CONNECT, _DOMAIN = 5, 1, 3
_SUCCEEDED = bytes([_VERSION, 0, 0, 1, 0, 0, 0, 0, 0, 0])


class _Handler(StreamRequestHandler):
    """A connection, as RFC 1928 describes it, without a password and to a host's name alone."""

    server: "_Proxy"
    wbufsize = 0

    def handle(self) -> None:
        _, methods = self.rfile.read(2)
        self.rfile.read(methods)
        self.wfile.write(bytes([_VERSION, 0]))
        _, command, _, kind, length = self.rfile.read(5)
        assert (command, kind) == (_CONNECT, _DOMAIN)
        self.server.hosts.add(self.rfile.read(length).decode())
        self.rfile.read(2)
        with socket.create_connection(("127.0.0.1", self.server.target)) as target:
            self.wfile.write(_SUCCEEDED)
            threading.Thread(target=self._answer, args=(target,), daemon=True).start()
            with suppress(OSError):
                while content := self.rfile.read1(1 << 16):
                    target.sendall(content)

    def _answer(self, target: socket.socket) -> None:
        """Send what the target answers, until either side closes its connection."""
        with suppress(OSError):
            while content := target.recv(1 << 16):
                self.wfile.write(content)


class _Proxy(ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, target: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = target
        self.hosts = set[str]()

    @property
    def url(self) -> str:
        return f"socks5h://127.0.0.1:{self.server_address[1]}"


@contextmanager
def socks_proxy(target: int) -> Iterator[_Proxy]:
    """Run the proxy to the port `target`; `hosts` are the hosts that it was asked for."""
    with _Proxy(target) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
