"""What an HTTP response of the exchange holds: candles, trades, its time, or an error."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx
import pyarrow as pa

from coinbase_assets.candles.parsing import parse_candles
from coinbase_assets.candles.series import Granularity
from coinbase_assets.candles.table import InvalidCandles
from coinbase_assets.candles.trades import InvalidTrades, parse_trades
from coinbase_assets.candles.windows import Window
from coinbase_assets.exchange.errors import (
    ExchangeError,
    ExchangeUnavailable,
    InvalidAnswer,
    ProductNotFound,
    RateLimited,
    RequestRefused,
)
from coinbase_assets.plain_text import quoted, shown


class GarbledAnswer(InvalidAnswer):
    """The answer was damaged on the way: another request may give an intact answer."""


def refuse_errors(response: httpx.Response, product: str | None) -> None:
    """Raise the matching ExchangeError if the response is not a success.

    `product` is the product that was asked for, None for the list of products.
    """
    status = response.status_code
    answered = f"answered {status} {quoted(response.text, 200)}"
    if status == httpx.codes.NOT_FOUND and product:
        raise ProductNotFound(
            f"the exchange does not know the product {product};"
            f" {response.url.copy_with(path='/products', query=None)} lists the products it knows"
        )
    if status == httpx.codes.TOO_MANY_REQUESTS:
        raise RateLimited(answered, _retry_after(response))
    if response.is_server_error:
        raise ExchangeUnavailable(answered)
    if response.is_client_error:
        raise RequestRefused(f"{answered} to {response.url}")
    if status != httpx.codes.OK:
        raise ExchangeError(f"{answered} to {response.url}")


def _retry_after(response: httpx.Response) -> float:
    """Return the seconds to wait: as the Retry-After header says, 1 if there is no such header."""
    value = response.headers.get("Retry-After", "1")
    try:
        return float(value) if value.isdecimal() else _seconds_until(value, response)
    except (ValueError, GarbledAnswer):
        return 1.0


def _seconds_until(date: str, response: httpx.Response) -> float:
    then = parsedate_to_datetime(date).replace(tzinfo=UTC)
    return max(0.0, (then - exchange_time(response)).total_seconds())


def exchange_time(response: httpx.Response) -> datetime:
    """Return the exchange's time when it made the answer (UTC), or up to 2 s before that time.

    An answer out of a cache is `Age` seconds old. As `Age` is cut to whole seconds, such an answer
    is taken as one second older. Raises GarbledAnswer.
    """
    try:
        date = parsedate_to_datetime(response.headers["Date"])
        age = timedelta(seconds=int(response.headers.get("Age", 0)))
        time = date.replace(tzinfo=date.tzinfo or UTC) - age
    except (KeyError, ValueError, OverflowError) as error:
        raise GarbledAnswer(f"no usable Date header ({shown(str(error), 80)})") from error
    if age < timedelta(0):
        raise GarbledAnswer(f"no usable Date header (Age {age.total_seconds():.0f} is negative)")
    return time - timedelta(seconds=1) if age else time


def parse_list_response(response: httpx.Response, items: str) -> list[object]:
    """Return the response's JSON array. `items` names its elements in errors.

    Raises GarbledAnswer.
    """
    try:
        values = response.json()
    except (ValueError, RecursionError) as error:
        raise GarbledAnswer(f"not JSON: {quoted(response.text)}") from error
    if not isinstance(values, list):
        raise GarbledAnswer(f"not a list of {items}: {quoted(response.text)}")
    return values


def parse_candles_response(
    response: httpx.Response, granularity: Granularity, window: Window
) -> pa.Table:
    """Return the candles of the window as `parse_candles` does. Raises InvalidAnswer."""
    rows = parse_list_response(response, "candles")
    try:
        return parse_candles(rows, granularity, window.start, window.end)
    except InvalidCandles as error:
        raise InvalidAnswer(f"{error}; nothing of this answer is stored") from error


def parse_trades_response(response: httpx.Response) -> pa.Table:
    """Return the trades as `parse_trades` does. Raises InvalidAnswer."""
    rows = parse_list_response(response, "trades")
    try:
        return parse_trades(rows)
    except InvalidTrades as error:
        raise InvalidAnswer(f"{error}; nothing of this answer is used") from error
