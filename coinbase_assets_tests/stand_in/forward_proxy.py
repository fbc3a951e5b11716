"""A forward proxy that brings every host's requests to one server on this machine.

So a test reaches Azurite at the address of a real account, `http://mylake.blob.core.windows.net`:
Azure's SDK, and whatever else keeps to HTTP_PROXY, sends the request here with that Host.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

# They say how a body travels between two neighbours, which is another way on each side.
_HOP_BY_HOP = {"connection", "keep-alive", "proxy-connection", "transfer-encoding"}


class _Handler(BaseHTTPRequestHandler):
    server: "Proxy"
    protocol_version = "HTTP/1.1"
    # Headers and body in one packet: the body of an answer would wait for an acknowledgement.
    wbufsize = -1

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        url = urlsplit(self.path)
        path = f"{url.path}?{url.query}" if url.query else url.path
        source = (self.server.address, 0)
        with closing(HTTPConnection("127.0.0.1", self.server.target, None, source)) as target:
            target.putrequest(self.command, path, skip_host=True, skip_accept_encoding=True)
            for name, value in self._kept(self.headers.items()):
                target.putheader(name, self.server.domains.get(value, value))
            target.endheaders(body)
            response = target.getresponse()
            content = response.read()
        self.send_response_only(response.status)
        for name, value in self._kept(response.getheaders()):
            if name.lower() != "content-length" or self.command == "HEAD":
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.server.hosts.add(self.headers["Host"])

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _forward  # noqa: N815 (the parent's names)

    def _kept(self, headers: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        return ((name, value) for name, value in headers if name.lower() not in _HOP_BY_HOP)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the parent's name)
        """Say nothing: `hosts` has what was asked for."""


class Proxy(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, target: int, domains: Mapping[str, str], address: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = target
        self.domains = domains
        self.address = address
        self.hosts = set[str]()

    @property
    def environment(self) -> dict[str, str]:
        """The variables that bring names to the proxy, and this machine's numbers to themselves."""
        url, names = f"http://127.0.0.1:{self.server_port}", "127.0.0.1"
        return {"HTTP_PROXY": url, "http_proxy": url, "NO_PROXY": names, "no_proxy": names}


@contextmanager
def forward_proxy(
    target: int, domains: Mapping[str, str] | None = None, address: str = "127.0.0.1"
) -> Iterator[Proxy]:
    """Run the proxy to the port `target`; `hosts` are the hosts that it was asked for.

    `domains` are the domains of users, each with the host of the account that it stands for. The
    server sees requests from `address`.
    """
    with Proxy(target, domains or {}, address) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
