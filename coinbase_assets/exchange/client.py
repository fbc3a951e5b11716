"""Requests to the exchange and their answers: sent within the budget, retried, validated."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from types import TracebackType
from typing import Self

import httpx
import pyarrow as pa
import tenacity

from coinbase_assets.candles import closed_candles
from coinbase_assets.exchange.answers import (
    Answer,
    GarbledAnswer,
    exchange_time,
    read_candles,
    refuse_errors,
)
from coinbase_assets.exchange.budget import RequestBudget
from coinbase_assets.exchange.errors import (
    ExchangeError,
    ExchangeUnavailable,
    InvalidAnswer,
    RateLimited,
)
from coinbase_assets.exchange.windows import Window, request_windows
from coinbase_assets.series import Granularity, Series

log = logging.getLogger(__name__)

GIVE_UP_AFTER = 120.0
# Enough requests under way for 10 a second at answers that take up to 3 seconds.
_AHEAD = 30
_TIMEOUT = httpx.Timeout(20, connect=10)
# The exchange lets caches keep an answer for so long (its Cache-Control header), in seconds.
_CACHE_LIFE = 300
_EARLIEST = 30
_LONGEST_PAUSE = 60.0
_BACKOFF = tenacity.wait_exponential(multiplier=0.25, max=15) + tenacity.wait_random(0, 0.5)
_ATTEMPTS_BEFORE_WARNING = 3


_WORTH_ANOTHER_TRY = (RateLimited, ExchangeUnavailable, GarbledAnswer)


class ExchangeClient:
    """The exchange at `api_url`, asked within `budget`; use it as an async context manager.

    A request that fails on the way or on the exchange's side is sent again, with growing pauses,
    for `give_up_after` seconds.
    """

    def __init__(
        self,
        api_url: str,
        budget: RequestBudget,
        give_up_after: float = GIVE_UP_AFTER,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._http = httpx.AsyncClient(
            base_url=api_url, timeout=_TIMEOUT, headers={"User-Agent": "coinbase-assets"}
        )
        self._budget = budget
        self._give_up_after = give_up_after
        self._clock = clock
        self._as_of = datetime.min.replace(tzinfo=UTC)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._http.aclose()
        self._budget.close()

    async def fetch_candles(
        self, product: str, granularity: Granularity, start: datetime, end: datetime
    ) -> AsyncGenerator[Answer, None]:
        """Answers for the windows from `start` to before `end`, in order, fetched ahead.

        Windows in the exchange's future are not asked for, but for the first.
        Raises ExchangeError, naming the series, the window and the last cause.
        """
        series = Series(product, granularity)
        windows = deque(request_windows(start, end, granularity))
        tasks: deque[asyncio.Task[Answer]] = deque()
        if windows:
            tasks.append(asyncio.create_task(self._ask(series, windows.popleft())))
        try:
            while tasks:
                yield await tasks.popleft()
                while windows and len(tasks) < _AHEAD and windows[0].start < self._as_of:
                    tasks.append(asyncio.create_task(self._ask(series, windows.popleft())))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, series: Series, window: Window) -> Answer:
        """The window's closed candles; an answer without any is believed when it comes twice."""
        variant = int(self._clock())
        candles, as_of, requests = await self._retry(series, window, variant)
        if not candles.num_rows and as_of >= window.start + series.granularity.delta:
            variant += _CACHE_LIFE // 2
            candles, as_of, more = await self._retry(series, window, variant)
            requests += more
        closed = closed_candles(candles, series.granularity, as_of)
        answer = Answer(series, window, closed, as_of, requests)
        log.info("answer", extra={"answer": answer})
        return answer

    async def _retry(
        self, series: Series, window: Window, variant: int
    ) -> tuple[pa.Table, datetime, int]:
        """Candles, the exchange's time and the number of requests it took."""
        question = f"{series} {window}"
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(_WORTH_ANOTHER_TRY),
            wait=_pause,
            stop=tenacity.stop_before_delay(self._give_up_after),
            before_sleep=lambda state: _log_retry(question, state),
            sleep=self._sleep,
            reraise=True,
        )
        await self._budget.wait()
        try:
            page: tuple[pa.Table, datetime] = await retrying(
                self._request, series, window, count(variant)
            )
        except ExchangeError as error:
            attempts = retrying.statistics["attempt_number"]
            kind = InvalidAnswer if isinstance(error, GarbledAnswer) else type(error)
            raise kind(f"{question}, attempts {attempts}: {error}") from error
        return *page, retrying.statistics["attempt_number"]

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._budget.wait()

    async def _request(
        self, series: Series, window: Window, variants: Iterator[int]
    ) -> tuple[pa.Table, datetime]:
        try:
            response = await self._http.get(
                f"/products/{series.product}/candles",
                params=_parameters(series.granularity, window, next(variants)),
            )
        except httpx.RequestError as error:
            raise ExchangeUnavailable(
                f"no answer from {self._http.base_url} ({str(error) or type(error).__name__})"
            ) from error
        try:
            refuse_errors(response, series.product)
        except RateLimited as error:
            await self._budget.pause(min(error.retry_after, _LONGEST_PAUSE))
            raise
        as_of = exchange_time(response)
        self._as_of = max(self._as_of, as_of)
        return read_candles(response, series.granularity, window), as_of


def _parameters(granularity: Granularity, window: Window, variant: int) -> dict[str, str]:
    """Both ends are inclusive. Moved by some seconds, together less than a bucket, they give the
    same candles (more are clipped) under another URL, which no cache has an answer for."""
    late, early = divmod(variant % _CACHE_LIFE, _EARLIEST)
    return {
        "granularity": str(granularity.seconds),
        "start": (window.start - timedelta(seconds=early)).strftime("%FT%TZ"),
        "end": (window.end - granularity.delta + timedelta(seconds=late)).strftime("%FT%TZ"),
    }


def _pause(state: tenacity.RetryCallState) -> float:
    """Seconds before the next attempt: what the exchange asks for, else growing with jitter."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, RateLimited) else 0.0
    return max(asked, _BACKOFF(state))


def _log_retry(question: str, state: tenacity.RetryCallState) -> None:
    level = logging.WARNING if state.attempt_number >= _ATTEMPTS_BEFORE_WARNING else logging.DEBUG
    error = state.outcome.exception() if state.outcome else None
    log.log(level, "%s: attempt %d failed, trying again: %s", question, state.attempt_number, error)
