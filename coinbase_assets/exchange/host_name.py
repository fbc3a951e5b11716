"""Looks up the exchange's host name, to report a wrong one before collecting."""

import socket
import threading
import time
from contextlib import suppress

import httpx

from coinbase_assets.environment.network import proxy_for
from coinbase_assets.exchange.errors import ExchangeUnreachable

PATIENCE = 10.0


def unknown_host(api_url: str, seconds: float = PATIENCE) -> ExchangeUnreachable | None:
    """Return an error if the host name does not resolve within so many seconds, else None.

    Behind a proxy nothing is looked up: the proxy resolves the name.
    """
    url = httpx.URL(api_url)
    if proxy_for(api_url):
        return None
    found = threading.Event()
    # One look-up may take longer than that.
    threading.Thread(target=_look_up, args=(url.raw_host, found, seconds), daemon=True).start()
    if found.wait(seconds):
        return None
    return ExchangeUnreachable(f"no answer from {url}: the name {url.host} does not resolve")


def _look_up(host: bytes, found: threading.Event, seconds: float) -> None:
    give_up = time.monotonic() + seconds
    while not found.is_set() and time.monotonic() < give_up:
        with suppress(OSError):
            socket.getaddrinfo(host, None)
            found.set()
        time.sleep(0.5)
