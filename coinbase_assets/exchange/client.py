"""Asks the exchange for candles, trades and products, and validates the answers."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, MutableMapping
from concurrent.futures import Future
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from types import TracebackType
from typing import Concatenate, ParamSpec, Self

import httpx
import pyarrow as pa

from coinbase_assets.candles.series import Granularity, Series
from coinbase_assets.candles.table import closed_candles
from coinbase_assets.candles.trades import MAX_TRADES, TradePage
from coinbase_assets.candles.windows import Answer, Window, request_windows
from coinbase_assets.exchange.bounded_transport import BoundedTransport, RawAnswer
from coinbase_assets.exchange.budget import RequestBudget
from coinbase_assets.exchange.errors import (
    ExchangeError,
    ProductNotFound,
    RequestRefused,
    TradesNotOffered,
)
from coinbase_assets.exchange.outages import Outages
from coinbase_assets.exchange.products import (
    CATALOGUE_BOUNDS,
    Catalogue,
    parse_products_response,
    refuse_impossible,
)
from coinbase_assets.exchange.request_counts import RequestCounts
from coinbase_assets.exchange.responses import parse_candles_response, parse_trades_response
from coinbase_assets.exchange.sender import REQUEST_SECONDS, Page, RequestSender

log = logging.getLogger(__name__)

GIVE_UP_AFTER = 120.0
# Requests under way: enough to send 10 a second when an answer takes 3 seconds.
_AHEAD = 30
# Seconds for which caches may keep an answer (the exchange's Cache-Control header).
_CACHE_LIFE = 300
_EARLIEST = 30
# Bytes of an answer that is parsed in about a millisecond: more than 300 candles take.
_SHORT = 50_000

Rest = ParamSpec("Rest")


class ExchangeClient:
    """A client of the exchange at `api_url`; use it as an async context manager.

    Requests keep to `budget`. A request that fails on the way or on the exchange's side is sent
    again, with growing pauses, for `give_up_after` seconds. Its answer is whole within
    `request_seconds`, or has failed. `clock` returns this machine's epoch seconds; `transport`
    stands in for the network; `outages` says when the exchange does not answer; `begun` has
    requests of a head start. Every method raises ExchangeError, and nothing else.
    """

    def __init__(
        self,
        api_url: str,
        budget: RequestBudget,
        give_up_after: float = GIVE_UP_AFTER,
        clock: Callable[[], float] = time.time,
        *,
        request_seconds: float = REQUEST_SECONDS,
        transport: httpx.AsyncBaseTransport | None = None,
        outages: Outages | None = None,
        counts: RequestCounts | None = None,
        begun: MutableMapping[tuple[Series, Window], Future[Answer]] | None = None,
    ) -> None:
        bounded = BoundedTransport(api_url, transport)
        self._sender = RequestSender(
            bounded, budget, give_up_after, request_seconds, clock, outages, counts
        )
        self._clock = clock
        self._begun = {} if begun is None else begun
        self._as_of = datetime.min.replace(tzinfo=UTC)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._sender.aclose()

    async def fetch_candles(
        self,
        product: str,
        granularity: Granularity,
        start: datetime,
        end: datetime,
        *,
        confirm_empty: bool = True,
    ) -> AsyncGenerator[Answer, None]:
        """Yield the answers for the windows from `start` until `end`, in order, fetched ahead.

        The first window is always requested, other windows only if the exchange's time has passed
        their start. Until the first answer, the machine's clock gives that time.
        An answer without candles is confirmed by a second request if `confirm_empty` is true.
        Raises ExchangeError, which names the series, the window and the last cause.
        """
        refuse_impossible(product)
        ask = partial(self._take_or_ask, Series(product, granularity), confirm_empty)
        windows = deque(request_windows(start, end, granularity))
        tasks: deque[tuple[Window, asyncio.Task[Answer]]] = deque()

        def ask_for_those_before(time: datetime) -> None:
            while windows and len(tasks) < _AHEAD and windows[0].start < time:
                window = windows.popleft()
                tasks.append((window, asyncio.create_task(ask(window))))

        try:
            ask_for_those_before(max(start + granularity.delta, self._surely_past()))
            while tasks and (tasks[0][0].start == start or tasks[0][0].start < self._as_of):
                answer = await tasks.popleft()[1]
                log.info("%s", answer, extra={"answer": answer})
                yield answer
                ask_for_those_before(self._as_of)
        finally:
            left = [task for _, task in tasks]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    def _surely_past(self) -> datetime:
        """Return a time that the exchange has passed, unless this machine's clock is a day fast."""
        return datetime.fromtimestamp(self._clock(), UTC) - timedelta(days=1)

    async def fetch_products(self) -> Catalogue:
        """Return all products that the exchange knows. Raises ExchangeError with the last cause."""
        return Catalogue(*await self._sender.retry("list of products", self._request_products))

    async def fetch_trades(self, product: str, after: int | None = None) -> TradePage:
        """Return up to 1,000 trades with ids below `after`; the newest ones if it is None.

        Raises ExchangeError: ProductNotFound if the exchange does not know the product,
        TradesNotOffered if it knows the product, but refuses to answer its trades.
        """
        refuse_impossible(product)
        question = f"trades of {product}" + (f" with ids below {after}" if after else "")
        request = partial(self._request_trades, product, after)
        try:
            return TradePage(*await self._sender.retry(question, request))
        except (ProductNotFound, RequestRefused) as error:
            is_known = partial(self._request_product, product)
            await self._sender.retry(f"product {product}", is_known)
            raise TradesNotOffered(
                f"{question}: the exchange knows the product, but does not answer its trades"
            ) from error

    async def _take_or_ask(self, series: Series, confirm_empty: bool, window: Window) -> Answer:
        """Return the answer of the head start; if it has none, or failed, ask."""
        if begun := self._begun.pop((series, window), None):
            with suppress(ExchangeError):
                answer = await asyncio.wrap_future(begun)
                self._as_of = max(self._as_of, answer.as_of)
                return answer
        return await self.ask(series, window, confirm_empty=confirm_empty)

    async def ask(self, series: Series, window: Window, *, confirm_empty: bool = True) -> Answer:
        """Return the answer for the window, with closed candles only.

        If it has none, it is confirmed by a second request if `confirm_empty` is true.
        """
        refuse_impossible(series.product)
        request, variant = partial(self._request_candles, series, window), int(self._clock())
        question = f"{series} {window}"
        candles, as_of, requests = await self._sender.retry(
            question, partial(request, count(variant))
        )
        has_begun = as_of >= window.start + series.granularity.delta
        if confirm_empty and has_begun and not candles.num_rows:
            variant += _CACHE_LIFE // 2
            candles, as_of, more = await self._sender.retry(
                question, partial(request, count(variant))
            )
            requests += more
        closed = closed_candles(candles, series.granularity, as_of)
        return Answer(series, window, closed, as_of, requests)

    async def _request_candles(
        self, series: Series, window: Window, variants: Iterator[int]
    ) -> Page:
        parameters = _parameters(series.granularity, window, next(variants))
        path = f"/products/{series.product}/candles"
        answer, as_of = await self._sender.get(path, parameters, series.product)
        self._as_of = max(self._as_of, as_of)
        return await _parsed(parse_candles_response, answer, series.granularity, window), as_of

    async def _request_products(self) -> Page:
        answer, as_of = await self._sender.get("/products", bounds=CATALOGUE_BOUNDS)
        return await _parsed(parse_products_response, answer), as_of

    async def _request_trades(self, product: str, after: int | None) -> Page:
        parameters = {"limit": str(MAX_TRADES)} | ({"after": str(after)} if after else {})
        path = f"/products/{product}/trades"
        answer, as_of = await self._sender.get(path, parameters, product)
        return await _parsed(parse_trades_response, answer), as_of

    async def _request_product(self, product: str) -> Page:
        """Return an empty table if the exchange knows the product. Raises ProductNotFound."""
        _, as_of = await self._sender.get(f"/products/{product}", product=product)
        return pa.table({}), as_of


async def _parsed(
    parse: Callable[Concatenate[RawAnswer, Rest], pa.Table],
    answer: RawAnswer,
    *rest: Rest.args,
    **named: Rest.kwargs,
) -> pa.Table:
    """Parse a long answer in a thread: a busy event loop would send other requests late."""
    if len(answer.body) <= _SHORT:
        return parse(answer, *rest, **named)
    return await asyncio.to_thread(parse, answer, *rest, **named)


def _parameters(granularity: Granularity, window: Window, variant: int) -> dict[str, str]:
    """Return the query of a request for the window; each `variant` gives another URL.

    The exchange includes both ends. They are moved outwards by some seconds, together by less than
    a bucket: that changes no candle in the window, and no cache has an answer for the new URL.
    """
    late, early = divmod(variant % _CACHE_LIFE, _EARLIEST)
    return {
        "granularity": str(granularity.seconds),
        "start": (window.start - timedelta(seconds=early)).strftime("%FT%TZ"),
        "end": (window.end - granularity.delta + timedelta(seconds=late)).strftime("%FT%TZ"),
    }
