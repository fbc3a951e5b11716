"""Which failed requests are sent again, after what pause, and what is logged about it."""

import logging
from collections.abc import Awaitable, Callable

import tenacity

from coinbase_assets.exchange.errors import ExchangeUnavailable, GarbledAnswer, RateLimited
from coinbase_assets.exchange.outages import Outages

log = logging.getLogger(__name__)

_WORTH_ANOTHER_TRY = (RateLimited, ExchangeUnavailable, GarbledAnswer)
_BACKOFF = tenacity.wait_exponential(multiplier=0.25, max=15) + tenacity.wait_random(0, 0.5)
_OUTAGE_FROM_ATTEMPT = 3


def retrying(
    question: str,
    give_up_after: float,
    sleep: Callable[[float], Awaitable[None]],
    outages: Outages | None,
) -> tenacity.AsyncRetrying:
    """Return an object that calls a request until it succeeds or `give_up_after` seconds are over.

    If no call succeeds, the object raises the error of the last call.
    `question` names the request in the log; `sleep` waits for a number of seconds; `outages`
    notes what failed several times.
    """
    return tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception_type(_WORTH_ANOTHER_TRY),
        wait=_pause,
        stop=tenacity.stop_before_delay(give_up_after),
        before_sleep=lambda state: _note_failure(outages, question, state),
        sleep=sleep,
        reraise=True,
    )


def _pause(state: tenacity.RetryCallState) -> float:
    """Return the seconds before the next attempt: growing, at least what the exchange asks for."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, RateLimited) else 0.0
    return max(asked, _BACKOFF(state))


def _note_failure(outages: Outages | None, question: str, state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    log.debug("%s: attempt %d failed: %s", question, state.attempt_number, error)
    if outages and state.attempt_number >= _OUTAGE_FROM_ATTEMPT:
        outages.failed(error)
