"""aiohttp's connections behind httpx's interface: a fifth of the processor time of httpx's own."""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

# httpx's own bounds: the seconds for which an idle connection is kept, the bytes of a header.
_KEPT_ALIVE = 5
_LONGEST_HEADER = 100 * 1024
_FIRST_FINAL_STATUS = 200

# What the current task awaits between the connection and the sending of its request.
_before_sending = ContextVar[Callable[[], Awaitable[None]]]("before_sending")


class DirectTransport(AiohttpTransport):
    """Sends requests without a proxy, and none of them twice.

    A request's extension `before_sending` is awaited when it has a connection.
    """

    def get_client(self) -> aiohttp.ClientSession:
        connector = _Connector(ssl=self.ssl_context, keepalive_timeout=_KEPT_ALIVE)
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            max_line_size=_LONGEST_HEADER,
            max_field_size=_LONGEST_HEADER,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        _before_sending.set(request.extensions["before_sending"])
        try:
            response = await super().handle_async_request(request)
        except aiohttp.ClientError as error:
            raise httpx.RemoteProtocolError(str(error)) from error
        if response.status_code < _FIRST_FINAL_STATUS:
            await response.aclose()
            raise httpx.RemoteProtocolError("the server changes to a protocol unasked")
        return response


class _Connector(aiohttp.TCPConnector):
    async def connect(self, *request: Any, **options: Any) -> Any:
        connection = await super().connect(*request, **options)
        try:
            await _before_sending.get()()
        except BaseException:
            connection.close()
            raise
        # aiohttp would send a request again if the server has closed a kept connection.
        _before_sending.set(_refuse)
        return connection


async def _refuse() -> None:
    raise httpx.ReadError("the server closed the connection")
