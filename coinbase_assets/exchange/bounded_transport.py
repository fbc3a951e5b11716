"""One GET over a bare transport: every answer is bounded in time and size before it is in memory.

There are no cookies, no redirects and no charsets: httpx parses what an answer's headers name, and
unpacks as many layers of compression as an answer has. Here only a body's bytes are taken from it.
"""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlencode

import httpx

from coinbase_assets.environment.network import httpx_options
from coinbase_assets.exchange.direct_transport import DirectTransport
from coinbase_assets.exchange.errors import ExchangeUnreachable, GarbledAnswer
from coinbase_assets.plain_text import quoted, shown

# For one read, one write, or one connection. The deadline of a request is over all of them.
_TIMEOUT = {"connect": 10.0, "read": 20.0, "write": 20.0}
_HEADERS = {
    "User-Agent": "coinbase-assets",
    "Accept": "*/*",
    "Accept-Encoding": "gzip",
    "Connection": "keep-alive",
}
_GZIP = ("gzip", "x-gzip")
_GZIP_WINDOW = zlib.MAX_WBITS | 16
# An error is known by its status: its body only explains it.
_ERROR_BYTES = 4_096
_ERROR_SECONDS = 2.0


@dataclass(frozen=True)
class Bounds:
    """The most bytes of an answer's body, as it is sent and unpacked."""

    sent: int = 1_000_000
    unpacked: int = 4_000_000


@dataclass(frozen=True)
class RawAnswer:
    """An answer as it came. The body is unpacked; an error's body may be cut."""

    url: httpx.URL
    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def beginning(self) -> str:
        """The first characters of the body, for messages."""
        return self.body[:_ERROR_BYTES].decode(errors="replace")


class BoundedTransport:
    """Sends GET requests to the exchange at `api_url`.

    They go as the environment says, or over `transport`.
    """

    def __init__(self, api_url: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._url = api_url
        self._transport = transport or _transport(api_url)

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def get(
        self,
        path: str,
        parameters: Mapping[str, str],
        bounds: Bounds,
        seconds: float,
        before_sending: Callable[[], Awaitable[None]],
    ) -> RawAnswer:
        """Return the answer of any status, whole within so many seconds.

        `before_sending` is awaited when the connection is made; its time does not count.
        Raises ExchangeUnreachable, or GarbledAnswer for an answer beyond the bounds.
        """
        try:
            async with asyncio.timeout(seconds) as deadline:
                hold = partial(_hold_deadline, deadline, before_sending)
                extensions = {
                    "timeout": _TIMEOUT,
                    "before_sending": hold,
                    "trace": partial(_trace, hold),
                }
                url = (
                    f"{self._url}{path}?{urlencode(parameters)}" if parameters else self._url + path
                )
                request = httpx.Request("GET", url, headers=_HEADERS, extensions=extensions)
                return await self._answer(request, bounds, min(_ERROR_SECONDS, seconds / 2))
        except TimeoutError as error:
            cause = f"no whole answer within {seconds:.3g} s"
            raise ExchangeUnreachable(f"no answer from {self._url} ({cause})") from error
        except httpx.RequestError as error:
            cause = shown(str(error), 200) or type(error).__name__
            raise ExchangeUnreachable(f"no answer from {self._url} ({cause})") from error

    async def _answer(
        self, request: httpx.Request, bounds: Bounds, error_seconds: float
    ) -> RawAnswer:
        response = await self._transport.handle_async_request(request)
        status, headers = response.status_code, response.headers
        whole = status == httpx.codes.OK
        read = _read_whole(response, bounds) if whole else _read_error(response, error_seconds)
        try:
            return RawAnswer(request.url, status, headers, await read)
        finally:
            # This drops the connection unless all of the body was read.
            await response.aclose()


def _transport(api_url: str) -> httpx.AsyncBaseTransport:
    """Return httpx's own transport for a proxy: it knows all kinds of them."""
    options = httpx_options(api_url)
    if options["proxy"]:
        return httpx.AsyncHTTPTransport(**options)
    return DirectTransport(verify=options["verify"], trust_env=False)


async def _trace(hold: Callable[[], Awaitable[None]], event: str, _: object) -> None:
    """Called by httpx's own transport at each step of a request."""
    if event.endswith("send_request_headers.started"):
        await hold()


async def _hold_deadline(
    deadline: asyncio.Timeout, before_sending: Callable[[], Awaitable[None]]
) -> None:
    """Wait without a deadline before a request is sent."""
    now = asyncio.get_running_loop().time
    left = (deadline.when() or now()) - now()
    deadline.reschedule(None)
    await before_sending()
    deadline.reschedule(now() + left)


async def _read_whole(response: httpx.Response, bounds: Bounds) -> bytes:
    packing = response.headers.get("Content-Encoding", "").strip().lower()
    if packing not in ("", "identity", *_GZIP):
        raise GarbledAnswer(f"packed as {quoted(packing)}, where gzip was asked for")
    received = bytearray()
    async for part in response.aiter_raw():
        received += part
        if len(received) > bounds.sent:
            raise GarbledAnswer(f"longer than {bounds.sent:,} bytes")
    return _unpacked(received, bounds.unpacked) if packing in _GZIP else bytes(received)


def _unpacked(packed: bytes | bytearray, most: int) -> bytes:
    """Return what one layer of gzip holds. Raises GarbledAnswer."""
    stream = zlib.decompressobj(_GZIP_WINDOW)
    try:
        body = stream.decompress(packed, most + 1)
    except zlib.error as error:
        raise GarbledAnswer(f"not gzip, though its header says so ({error})") from error
    if len(body) > most:
        raise GarbledAnswer(f"longer than {most:,} bytes when it is unpacked")
    if not stream.eof or stream.unused_data:
        raise GarbledAnswer("its gzip stream is cut, or has more behind it")
    return body


async def _read_error(response: httpx.Response, seconds: float) -> bytes:
    """Return the beginning of an error's body: as much as comes within so many seconds."""
    received = bytearray()
    with suppress(TimeoutError, httpx.RequestError):
        async with asyncio.timeout(seconds):
            async for part in response.aiter_raw():
                received += part
                if len(received) >= _ERROR_BYTES:
                    break
    body = bytes(received[:_ERROR_BYTES])
    if response.headers.get("Content-Encoding", "").strip().lower() in _GZIP:
        with suppress(zlib.error):
            return zlib.decompressobj(_GZIP_WINDOW).decompress(body, _ERROR_BYTES)
    return body
