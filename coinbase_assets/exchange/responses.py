"""What an answer of the exchange holds: candles, trades, its clock's time, or an error."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
import pyarrow as pa

from coinbase_assets.candles.parsing import parse_candles
from coinbase_assets.candles.series import Granularity
from coinbase_assets.candles.table import InvalidCandles
from coinbase_assets.candles.trades import MAX_TRADES, InvalidTrades, parse_trades
from coinbase_assets.candles.windows import MAX_CANDLES, Window
from coinbase_assets.exchange.answer_dates import YEARS, exchange_time
from coinbase_assets.exchange.bounded_json import parse_json
from coinbase_assets.exchange.bounded_transport import RawAnswer
from coinbase_assets.exchange.errors import (
    ExchangeError,
    ExchangeUnavailable,
    GarbledAnswer,
    InvalidAnswer,
    ProductNotFound,
    RateLimited,
    RequestRefused,
)
from coinbase_assets.plain_text import quoted

# The exchange may send a few rows more than were asked for (its documentation).
_MOST_CANDLES = MAX_CANDLES + 100
_MOST_TRADES = MAX_TRADES + 100
_EPOCHS = [datetime(year, 1, 1, tzinfo=UTC).timestamp() for year in (YEARS.start, YEARS.stop)]


def refuse_errors(answer: RawAnswer, product: str | None) -> None:
    """Raise the matching ExchangeError if the response is not a success.

    `product` is the product that was asked for, None for the list of products.
    """
    status = answer.status
    if status == httpx.codes.OK:
        return
    answered = f"answered {status} {quoted(answer.beginning, 200)}"
    if status == httpx.codes.NOT_FOUND and product:
        raise ProductNotFound(
            f"the exchange does not know the product {product};"
            f" {answer.url.copy_with(path='/products', query=None)} lists the products it knows"
        )
    if status == httpx.codes.TOO_MANY_REQUESTS:
        raise RateLimited(answered, _retry_after(answer))
    if status >= 500:
        raise ExchangeUnavailable(answered)
    if status >= 400:
        raise RequestRefused(f"{answered} to {answer.url}")
    raise ExchangeError(f"{answered} to {answer.url}")


def _retry_after(answer: RawAnswer) -> float:
    """Return the seconds to wait: as the Retry-After header says, 1 if there is no such header."""
    value = answer.headers.get("Retry-After", "1")
    try:
        return float(value) if value.isdecimal() else _seconds_until(value, answer)
    except (ValueError, OverflowError, GarbledAnswer):
        return 1.0


def _seconds_until(date: str, answer: RawAnswer) -> float:
    then = parsedate_to_datetime(date).replace(tzinfo=UTC)
    return max(0.0, (then - exchange_time(answer.headers)).total_seconds())


def parse_list_response(answer: RawAnswer, most: int, items: str) -> list[object]:
    """Return the answer's JSON array of at most so many `items`. Raises GarbledAnswer."""
    values = parse_json(answer.body, most, items)
    if not isinstance(values, list):
        raise GarbledAnswer(f"not a list of {items}: {quoted(answer.beginning)}")
    if len(values) > most:
        raise GarbledAnswer(f"more than {most:,} {items}: {quoted(answer.beginning)}")
    return values


def parse_candles_response(answer: RawAnswer, granularity: Granularity, window: Window) -> pa.Table:
    """Return the candles of the window as `parse_candles` does. Raises InvalidAnswer."""
    rows = parse_list_response(answer, _MOST_CANDLES, "candles")
    try:
        return parse_candles(rows, granularity, window.start, window.end)
    except InvalidCandles as error:
        raise InvalidAnswer(f"{error}; nothing of this answer is stored") from error


def parse_trades_response(answer: RawAnswer) -> pa.Table:
    """Return the trades as `parse_trades` does. Raises InvalidAnswer."""
    rows = parse_list_response(answer, _MOST_TRADES, "trades")
    try:
        return parse_trades(rows)
    except InvalidTrades as error:
        raise InvalidAnswer(f"{error}; nothing of this answer is used") from error


def parse_time_response(answer: RawAnswer) -> datetime:
    """Return the time of the exchange's clock (UTC), its answer to GET /time.

    Raises GarbledAnswer.
    """
    clock = parse_json(answer.body, 1, "times")
    epoch = clock.get("epoch") if isinstance(clock, dict) else None
    if isinstance(epoch, int | float) and _EPOCHS[0] <= epoch < _EPOCHS[1]:
        return datetime.fromtimestamp(epoch, UTC)
    raise GarbledAnswer(f"not a time: {quoted(answer.beginning)}")
