"""Sends requests within the budget, again and again until their answers are usable."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from datetime import datetime

import pyarrow as pa

from coinbase_assets.exchange.answer_dates import DateCheck, answer_date, exchange_time
from coinbase_assets.exchange.bounded_transport import BoundedTransport, Bounds, RawAnswer
from coinbase_assets.exchange.budget import RequestBudget
from coinbase_assets.exchange.errors import (
    ExchangeError,
    GarbledAnswer,
    InvalidAnswer,
    RateLimited,
)
from coinbase_assets.exchange.outages import Outages
from coinbase_assets.exchange.request_counts import NO_ANSWER, RequestCounts
from coinbase_assets.exchange.responses import parse_time_response, refuse_errors
from coinbase_assets.exchange.retries import retrying
from coinbase_assets.plain_text import shown

# The longest that a request may take, from the connection to the last byte of its answer. The last
# attempts have the time that is left until they are given up, but not less than the shortest.
REQUEST_SECONDS = 30.0
_SHORTEST_SECONDS = 2.0
_LONGEST_PAUSE = 60.0
_ORDINARY = Bounds()

# The slot of the request that the current task sends next, and when the task gives up, both in the
# event loop's seconds.
_slot = ContextVar[float]("slot")
_give_up_at = ContextVar[float]("give_up_at")

# The table in an answer, and the exchange's time when it made the answer.
Page = tuple[pa.Table, datetime]


class RequestSender:
    """Sends the requests of a client; no error but ExchangeError leaves it."""

    def __init__(
        self,
        transport: BoundedTransport,
        budget: RequestBudget,
        give_up_after: float,
        request_seconds: float,
        clock: Callable[[], float],
        outages: Outages | None = None,
        counts: RequestCounts | None = None,
    ) -> None:
        self._transport = transport
        self._budget = budget
        self._give_up_after = give_up_after
        self._request_seconds = request_seconds
        self._outages = outages
        self._counts = counts
        self._dates = DateCheck(clock, self._ask_time)

    async def aclose(self) -> None:
        await self._transport.aclose()
        self._budget.close()
        if self._counts:
            self._counts.save()

    async def retry(
        self, question: str, request: Callable[[], Awaitable[Page]]
    ) -> tuple[pa.Table, datetime, int]:
        """Return the page that `request` gets, and the number of requests it took."""
        attempts = retrying(question, self._give_up_after, self._sleep, self._outages)
        _give_up_at.set(asyncio.get_running_loop().time() + self._give_up_after)
        await self._wait_for_slot()
        try:
            page: Page = await attempts(_declared, request)
        except ExchangeError as error:
            number = attempts.statistics["attempt_number"]
            kind = InvalidAnswer if isinstance(error, GarbledAnswer) else type(error)
            raise kind(f"{question}, attempt {number}: {error}") from error
        if self._outages:
            self._outages.answered()
        return *page, attempts.statistics["attempt_number"]

    async def get(
        self,
        path: str,
        parameters: Mapping[str, str] | None = None,
        product: str | None = None,
        bounds: Bounds = _ORDINARY,
    ) -> tuple[RawAnswer, datetime]:
        """Return the answer to one request, and the exchange's time when it made the answer.

        `product` is the product that the path names. Raises ExchangeError for all but a success.
        """
        answer = await self._send(path, parameters or {}, product, bounds)
        as_of = exchange_time(answer.headers)
        await self._dates.refuse_wrong(answer_date(answer.headers))
        return answer, as_of

    async def _ask_time(self) -> datetime:
        await self._wait_for_slot()
        return parse_time_response(await self._send("/time", {}, None, _ORDINARY))

    async def _send(
        self, path: str, parameters: Mapping[str, str], product: str | None, bounds: Bounds
    ) -> RawAnswer:
        left = _give_up_at.get() - asyncio.get_running_loop().time()
        seconds = min(self._request_seconds, max(left, _SHORTEST_SECONDS))
        try:
            answer = await self._transport.get(path, parameters, bounds, seconds, self._renew_slot)
        except ExchangeError:
            self._count(NO_ANSWER)
            raise
        self._count(str(answer.status))
        try:
            refuse_errors(answer, product)
        except RateLimited as error:
            await self._budget.pause(min(error.retry_after, _LONGEST_PAUSE))
            raise
        return answer

    def _count(self, status: str) -> None:
        if self._counts:
            self._counts.add(status)

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._wait_for_slot()

    async def _wait_for_slot(self) -> None:
        now = asyncio.get_running_loop().time
        began = now()
        _slot.set(await self._budget.wait())
        _give_up_at.set(_give_up_at.get() + now() - began)

    async def _renew_slot(self) -> None:
        """Called before a request is sent: its connection may have taken longer than the slot."""
        await self._budget.renew(_slot.get())


async def _declared(request: Callable[[], Awaitable[Page]]) -> Page:
    """Return the page. Raises ExchangeError: whatever else an answer causes makes it garbled."""
    try:
        return await request()
    except ExchangeError:
        raise
    except Exception as error:
        cause = f"{type(error).__name__}: {shown(str(error), 100)}"
        raise GarbledAnswer(f"the answer cannot be read ({cause})") from error
