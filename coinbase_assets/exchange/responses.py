"""What an HTTP response of the exchange says: its candles, its time, or why there are none."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx
import pyarrow as pa

from coinbase_assets.candles.parsing import parse_candles
from coinbase_assets.candles.series import Granularity
from coinbase_assets.candles.table import InvalidCandles
from coinbase_assets.candles.windows import Window
from coinbase_assets.exchange.errors import (
    ExchangeError,
    ExchangeUnavailable,
    InvalidAnswer,
    ProductNotFound,
    RateLimited,
)


class GarbledAnswer(InvalidAnswer):
    """Something on the way spoilt the answer: asking again may give a whole one."""


def refuse_errors(response: httpx.Response, product: str | None) -> None:
    """Raise the ExchangeError that the answer is, if any; `product` if one was asked for."""
    status = response.status_code
    said = f"answered {status} {response.text[:200]!r}"
    if status == httpx.codes.NOT_FOUND and product:
        raise ProductNotFound(
            f"the exchange does not know the product {product};"
            f" {response.url.copy_with(path='/products', query=None)} lists those it knows"
        )
    if status == httpx.codes.TOO_MANY_REQUESTS:
        raise RateLimited(said, _retry_after(response))
    if response.is_server_error:
        raise ExchangeUnavailable(said)
    if status != httpx.codes.OK:
        raise ExchangeError(f"{said} to {response.url}")


def _retry_after(response: httpx.Response) -> float:
    """Seconds the exchange asks to wait; it is not known to say, so one second else."""
    value = response.headers.get("Retry-After", "1")
    try:
        return float(value) if value.isdecimal() else _seconds_until(value, response)
    except (ValueError, GarbledAnswer):
        return 1.0


def _seconds_until(date: str, response: httpx.Response) -> float:
    then = parsedate_to_datetime(date).replace(tzinfo=UTC)
    return max(0.0, (then - exchange_time(response)).total_seconds())


def exchange_time(response: httpx.Response) -> datetime:
    """The exchange's time, or a little before, when it made the answer.

    A cache keeps it for `Age` seconds; as that is cut to whole seconds, one more.
    """
    try:
        date = parsedate_to_datetime(response.headers["Date"])
        age = timedelta(seconds=int(response.headers.get("Age", 0)))
        time = date.replace(tzinfo=date.tzinfo or UTC) - age
    except (KeyError, ValueError, OverflowError) as error:
        raise GarbledAnswer(f"no usable Date header ({error})") from error
    if age < timedelta(0):
        raise GarbledAnswer(
            f"no usable Date header (made in the future: Age {age.total_seconds():.0f})"
        )
    return time - timedelta(seconds=1) if age else time


def read_list(response: httpx.Response, of: str) -> list[object]:
    """The answer's JSON array. Raises GarbledAnswer, which names what it should be a list of."""
    try:
        values = response.json()
    except ValueError as error:
        raise GarbledAnswer(f"not JSON: {response.text[:80]!r}") from error
    if not isinstance(values, list):
        raise GarbledAnswer(f"not a list of {of}: {response.text[:80]!r}")
    return values


def read_candles(response: httpx.Response, granularity: Granularity, window: Window) -> pa.Table:
    rows = read_list(response, "candles")
    try:
        return parse_candles(rows, granularity, window.start, window.end)
    except InvalidCandles as error:
        raise InvalidAnswer(f"{error}; nothing of this answer is stored") from error
