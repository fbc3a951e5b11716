"""A stand-in for the Coinbase Exchange API on 127.0.0.1: real HTTP for tests, benchmarks, demos.

This module holds the server, its rate limit, and the CDN in front of it. Right answers come from
`answers.py`, wrong answers from `faults.py`, candles from `markets.py`. Times are epoch seconds,
UTC. `python -m coinbase_assets_tests.stand_in.exchange --help` shows the command.
"""

import argparse
import itertools
import json
import math
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from coinbase_assets_tests.stand_in.answers import (
    NOT_FOUND,
    HttpAnswer,
    Origin,
    json_answer,
    time_answer,
)
from coinbase_assets_tests.stand_in.faults import (
    DAMAGED,
    RATE_LIMITED,
    REPLACED,
    Faults,
    random_faults,
)
from coinbase_assets_tests.stand_in.markets import Market, file_markets, synthetic_markets
from coinbase_assets_tests.stand_in.trades import TradeTape

LOOPBACK = "127.0.0.1"


class TokenBucket:
    """Allows `rate` requests a second and `burst` at once; starts full (documented)."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst, self._tokens = rate, burst, float(burst)
        self._filled = time.monotonic()
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Return whether another request is allowed now."""
        with self._lock:
            now = time.monotonic()
            self._tokens = min(self._burst, self._tokens + (now - self._filled) * self._rate)
            self._filled = now
            allowed = self._tokens >= 1
            self._tokens -= allowed
            return allowed


@dataclass(frozen=True)
class Request:
    """A request and its outcome; `arrived` is in monotonic seconds, status 0 means no answer.

    `address` is the client's, by which the exchange limits requests.
    """

    arrived: float
    path: str
    params: Mapping[str, str]
    status: int = 0
    fault: str = ""
    address: str = LOOPBACK

    @property
    def product(self) -> str:
        """The product asked for, "" for the list of products."""
        return self.path.removeprefix("/products").strip("/").split("/")[0]


def _counts(requests: Sequence[Request]) -> dict[str, Any]:
    """Return counts by outcome, and the first and last arrival in monotonic seconds."""
    arrivals = [request.arrived for request in requests]
    return {
        "requests": len(requests),
        "status": Counter(str(request.status) for request in requests),
        "faults": Counter(request.fault for request in requests if request.fault),
        "first": min(arrivals, default=None),
        "last": max(arrivals, default=None),
    }


@dataclass(kw_only=True)
class StandInExchange:
    """A context manager that serves the exchange's public API at `url` until it ends.

    `latency` is the number of seconds before each answer, `slow_seconds` before an answer with the
    fault "slow". `rate` is the limit of requests a second from an address, None for no limit.
    `clock` returns the exchange's time in epoch seconds, `markets` are the candles of each product.
    With `cache_seconds`, a CDN answers the same URL from memory for so long; the Date header of its
    answers is the time now, or that of the origin's answer (`cdn_date`). `early_rows` is the number
    of rows sent before the asked start, as documented. A product without `trades` has no endpoint
    of trades. Requests for its time are not in `requests`, but in `time_requests`.
    """

    port: int = 0
    latency: float = 0.0
    rate: float | None = 10
    burst: float = 15
    clock: Callable[[], float] = time.time
    markets: Mapping[str, Market] = field(default_factory=synthetic_markets)
    delisted: Collection[str] = ()
    unlisted: set[str] = field(default_factory=set)
    faults: Faults | None = None
    slow_seconds: float = 1.0
    cache_seconds: float = 0
    cdn_date: Literal["now", "origin"] = "now"
    retry_after: int | None = None
    early_rows: int = 0
    trades: Mapping[str, TradeTape] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list, init=False, repr=False)
    time_requests: list[Request] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        self.stopping = threading.Event()
        self._origin = Origin(
            self.markets, self.delisted, self.unlisted, self.early_rows, self.trades
        )
        self._buckets: dict[str, TokenBucket] = {}
        self._making = threading.Lock()
        self._numbers = itertools.count()
        self._cache: dict[str, tuple[float, HttpAnswer]] = {}

    def __enter__(self) -> Self:
        self.stopping.clear()
        self._server = _Server(self)
        serve = self._server.serve_forever
        self._thread = threading.Thread(target=serve, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """The base URL, without a final slash."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def stats(self) -> dict[str, Any]:
        """Return counts of the requests so far, in total and by product, ready for JSON."""
        requests, products = list(self.requests), dict[str, list[Request]]()
        for request in requests:
            products.setdefault(request.product, []).append(request)
        each = {name: _counts(products[name]) for name in sorted(products) if name}
        return _counts(requests) | {"products": each}

    def answer(self, target: str, address: str = LOOPBACK) -> tuple[HttpAnswer, float]:
        """Return the answer to a GET of a path with query, and how many seconds to delay it."""
        url, now = urlsplit(target), self.clock()
        if url.path == "/stats":
            return json_answer(200, self.stats()), 0.0
        params = dict(parse_qsl(url.query))
        request = Request(time.monotonic(), unquote(url.path), params, address=address)
        fault, answer = self._outcome(target, request, now)
        self.requests.append(replace(request, status=answer.status, fault=fault))
        headers = {"Date": formatdate(now, usegmt=True)}
        if answer.status == 429 and self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        pause = self.latency + (self.slow_seconds if fault == "slow" else 0.0)
        return answer.with_headers(headers | dict(answer.headers)), pause

    def tell_time(self, address: str = LOOPBACK) -> HttpAnswer:
        """Return the answer to GET /time: the exchange's clock (documented)."""
        now = self.clock()
        answer = time_answer(now) if self._allows(address) else RATE_LIMITED
        self.time_requests.append(
            Request(time.monotonic(), "/time", {}, answer.status, address=address)
        )
        return answer.with_headers({"Date": formatdate(now, usegmt=True)})

    def _allows(self, address: str) -> bool:
        if self.rate is None:
            return True
        with self._making:
            bucket = self._buckets.setdefault(address, TokenBucket(self.rate, self.burst))
        return bucket.take()

    def _outcome(self, target: str, request: Request, now: float) -> tuple[str, HttpAnswer]:
        number = next(self._numbers)
        if not self._allows(request.address):
            return "", RATE_LIMITED
        fault = (self.faults and self.faults(number, request.product, request.params)) or ""
        if fault in REPLACED:
            return fault, REPLACED[fault]
        return fault, DAMAGED[fault](self._cached(target, request, now))

    def _cached(self, target: str, request: Request, now: float) -> HttpAnswer:
        made, answer = self._cache.get(target, (-math.inf, NOT_FOUND))
        if 0 <= now - made < self.cache_seconds:
            date = formatdate(made if self.cdn_date == "origin" else now, usegmt=True)
            return answer.with_headers({"Age": str(int(now - made)), "Date": date})
        answer = self._origin.answer(request.path, request.params, now)
        if self.cache_seconds and answer.status == 200:
            self._cache[target] = now, answer
        return answer


class _Handler(BaseHTTPRequestHandler):
    server: "_Server"
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        exchange, address = self.server.exchange, self.client_address[0]
        if self.path == "/time":
            answer, pause = exchange.tell_time(address), exchange.latency
        else:
            answer, pause = exchange.answer(self.path, address)
        exchange.stopping.wait(pause)
        self.close_connection |= answer.sent is not None
        if answer.status:
            self.send_response_only(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body[: answer.sent])

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the parent's name)
        """Print nothing: the requests are in `StandInExchange.requests`."""


class _Server(ThreadingHTTPServer):
    request_queue_size = 1024

    def __init__(self, exchange: StandInExchange) -> None:
        self.exchange = exchange
        self.connections: dict[threading.Thread, socket.socket] = {}
        super().__init__(("127.0.0.1", exchange.port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        handle = self.process_request_thread
        thread = threading.Thread(target=handle, args=(request, client_address), daemon=True)
        self.connections[thread] = request
        thread.start()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        super().process_request_thread(request, client_address)
        del self.connections[threading.current_thread()]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print errors in a market or in `faults`, but not that a client went away."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def server_close(self) -> None:
        """Close the connections that clients keep alive, too."""
        super().server_close()
        for thread, connection in list(self.connections.items()):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            thread.join(timeout=1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="A stand-in for the Coinbase Exchange API.")
    parser.add_argument("--port", type=int, default=8900, help="0: any free port")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--rate", type=float, default=10, help="requests a second, 0: unlimited")
    parser.add_argument("--burst", type=float, default=15, help="requests allowed at once")
    parser.add_argument("--files", type=Path, help="folder of PRODUCT_SECONDS_SPAN.parquet files")
    parser.add_argument("--fail", type=float, default=0.0, help="share of requests that fail")
    parser.add_argument("--seed", type=int, default=0, help="which of the requests fail")
    parser.add_argument("--products", type=lambda text: text.split(","), help="BTC-USD,ETH-EUR,...")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until Ctrl-C or SIGTERM. Prints the URL first, and the counts as JSON at the end."""
    options = _parser().parse_args(arguments)
    exchange = StandInExchange(
        port=options.port,
        latency=options.latency,
        rate=options.rate or None,
        burst=options.burst,
        markets=synthetic_markets(options.products)
        | (file_markets(options.files) if options.files else {}),
        faults=random_faults(options.fail, options.seed),
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    with suppress(KeyboardInterrupt), exchange:
        print(exchange.url, flush=True)
        threading.Event().wait()
    print(json.dumps(exchange.stats()), flush=True)


if __name__ == "__main__":
    main()
