"""The exchange's right answers to requests: paths, rules, JSON.

No server, no limits, no failures: those belong in `exchange.py`. Times are epoch seconds, UTC.
"""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from coinbase_assets_tests.stand_in.markets import Market
from coinbase_assets_tests.stand_in.trades import Trade, TradeTape

GRANULARITIES = {"60", "300", "900", "3600", "21600", "86400"}
MOST_TRADES = 1000
TOO_MANY = (
    "granularity too small for the requested time range. "
    "Count of aggregations requested exceeds 300"
)


@dataclass(frozen=True)
class HttpAnswer:
    """An HTTP answer; with `sent`, the connection is cut after `sent` bytes of the body."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    sent: int | None = None

    def with_headers(self, headers: Mapping[str, str]) -> "HttpAnswer":
        """Return the answer with these headers added or replaced."""
        return replace(self, headers={**self.headers, **headers})


def json_answer(status: int, value: object, cache: str = "no-store") -> HttpAnswer:
    """Return an answer with a value as JSON; `cache` is its Cache-Control header."""
    headers = {"Content-Type": "application/json; charset=utf-8", "Cache-Control": cache}
    return HttpAnswer(status, json.dumps(value, separators=(",", ":")).encode(), headers)


def error_answer(status: int, message: str) -> HttpAnswer:
    """Return an error answer in the exchange's form."""
    return json_answer(status, {"message": message})


def candles_answer(rows: Sequence[Sequence[Any]]) -> HttpAnswer:
    """Return an answer with these rows, in this order."""
    numbers = [[_number(value) for value in row] for row in rows]
    return json_answer(200, numbers, "public, max-age=300")


def time_answer(now: float) -> HttpAnswer:
    """Return the answer to GET /time, as it is documented; `now` is in epoch seconds."""
    moment = datetime.fromtimestamp(now, UTC)
    iso = f"{moment:%FT%T}.{moment.microsecond // 1000:03}Z"
    return json_answer(200, {"iso": iso, "epoch": round(now, 3)})


def trades_answer(trades: Sequence[Trade]) -> HttpAnswer:
    """Return an answer with these trades, given newest first."""
    answer = json_answer(200, [trade.row() for trade in trades])
    if not trades:
        return answer
    return answer.with_headers(
        {"CB-BEFORE": str(trades[0].number), "CB-AFTER": str(trades[-1].number)}
    )


def _number(value: object) -> object:
    """Return a whole number as an integer: the exchange sends it so (recorded)."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


NOT_FOUND = error_answer(404, "NotFound")


@dataclass(frozen=True)
class Origin:
    """The exchange behind the CDN: its markets, and the products that are delisted.

    Its list of products lacks the `unlisted` ones, for which it answers otherwise. `early_rows` is
    the number of rows sent before the asked start. Only products in `trades` have an endpoint of
    trades.
    """

    markets: Mapping[str, Market]
    delisted: Collection[str] = ()
    unlisted: Collection[str] = ()
    early_rows: int = 0
    trades: Mapping[str, TradeTape] = field(default_factory=dict)

    def answer(self, path: str, params: Mapping[str, str], now: float) -> HttpAnswer:
        """Return the answer to a GET; `now` is the time of the exchange's clock."""
        match path.strip("/").split("/"):
            case ["currencies"]:
                return json_answer(200, self._currencies(), "public, max-age=5")
            case ["products"]:
                listed = [name for name in self.markets if name not in self.unlisted]
                products = [self._product(name) for name in listed]
                return json_answer(200, products, "public, max-age=5")
            case ["products", name] if name in self.markets:
                return json_answer(200, self._product(name), "public, max-age=5")
            case ["products", name, "candles"] if name in self.markets:
                return self._candles(self.markets[name], params, now)
            case ["products", name, "trades"] if name in self.trades:
                return _trades(self.trades[name], params, now)
        return NOT_FOUND

    def _candles(self, market: Market, params: Mapping[str, str], now: float) -> HttpAnswer:
        if params.get("granularity", "60") not in GRANULARITIES:
            return error_answer(400, "Unsupported granularity")
        granularity = int(params.get("granularity", "60"))
        try:
            first, last = _window(params, granularity, now)
        except ValueError as error:
            return error_answer(400, str(error))
        first -= self.early_rows * granularity
        return candles_answer(market.candles(granularity, first, last, now)[::-1])

    def _currencies(self) -> list[Mapping[str, str]]:
        """Return the documented fields that clients need; ccxt asks for currencies first."""
        names = sorted({part for name in self.markets for part in name.split("-")})
        return [
            {"id": name, "name": name, "status": "online", "max_precision": "0.00000001"}
            for name in names
        ]

    def _product(self, name: str) -> Mapping[str, object]:
        """Return the documented fields; products differ in their names and status only."""
        base, _, quote = name.partition("-")
        delisted = name in self.delisted
        flags = ("margin_enabled", "post_only", "limit_only", "cancel_only", "fx_stablecoin")
        return {
            "id": name,
            "base_currency": base,
            "quote_currency": quote,
            "quote_increment": "0.00001",
            "base_increment": "0.00000001",
            "display_name": f"{base}-{quote}",
            "min_market_funds": "1",
            "status": "delisted" if delisted else "online",
            "status_message": "",
            "trading_disabled": delisted,
            "max_slippage_percentage": "0.02",
            "auction_mode": False,
        } | dict.fromkeys(flags, False)


def _trades(tape: TradeTape, params: Mapping[str, str], now: float) -> HttpAnswer:
    try:
        limit, after, before = (
            int(params[name]) if name in params else default
            for name, default in (("limit", MOST_TRADES), ("after", None), ("before", None))
        )
    except ValueError:
        return error_answer(400, "Invalid cursor")
    if not 0 < (limit or 0) <= MOST_TRADES:
        return error_answer(400, "Invalid limit")
    return trades_answer(tape.page(now, limit or MOST_TRADES, after, before))


def _window(params: Mapping[str, str], granularity: int, now: float) -> tuple[int, int]:
    """Return the first and the last bucket asked for. Raises ValueError with the message."""
    if not ("start" in params and "end" in params):
        last = math.floor(now / granularity)
        return (last - 349) * granularity, last * granularity
    start, end = _instant(params, "start"), _instant(params, "end")
    if start > end:
        raise ValueError("start must be before end")
    if end - start > 300 * granularity:
        raise ValueError(TOO_MANY)
    first, last = math.ceil(start / granularity), math.floor(min(end, now) / granularity)
    return first * granularity, last * granularity


def _instant(params: Mapping[str, str], name: str) -> float:
    """Return epoch seconds, from epoch seconds or ISO 8601; without an offset it is UTC."""
    with suppress(ValueError):
        if math.isfinite(seconds := float(params[name])):
            return seconds
    try:
        moment = datetime.fromisoformat(params[name])
    except ValueError:
        raise ValueError(f"Invalid {name}") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
