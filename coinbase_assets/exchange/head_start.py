"""Requests that a process sends while it loads what its runs need; the runs take the answers."""

from collections.abc import Iterable, Iterator, MutableMapping
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from itertools import islice

from anyio.from_thread import start_blocking_portal

from coinbase_assets.candles.calendar import DAY
from coinbase_assets.candles.series import Series
from coinbase_assets.candles.windows import Answer, Question, Window, request_windows
from coinbase_assets.exchange.client import ExchangeClient

# Loading takes about a second: so many are the burst, and a second's requests.
_MOST = 22

Begun = MutableMapping[tuple[Series, Window], "Future[Answer]"]
"""Requests that are under way or answered. Who takes an answer removes it."""

_begun = ContextVar[Begun]("begun")


@contextmanager
def head_start(client: ExchangeClient, questions: Iterable[Question]) -> Iterator[None]:
    """Begin to ask the questions, and lend the answers to all clients of the block.

    At most 22 windows are asked for, all of them at least a day old.
    """
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(client):
        asked = {
            (series, window): portal.start_task_soon(client.ask, series, window)
            for series, window in islice(_old_windows(questions), _MOST)
        }
        token = _begun.set(asked.copy())
        try:
            yield
        finally:
            _begun.reset(token)
            for request in asked.values():
                request.cancel()


def begun_requests() -> Begun:
    """Return the requests of the head start, none outside of its block."""
    return _begun.get({})


def _old_windows(questions: Iterable[Question]) -> Iterator[tuple[Series, Window]]:
    """Yield the windows that have ended even if this machine's clock is a day fast."""
    now = datetime.now(UTC)
    for series, start, end in questions:
        for window in request_windows(start, end, series.granularity):
            if window.end <= now - DAY:
                yield series, window
