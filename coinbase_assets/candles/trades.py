"""Trades of a product: read from an answer's rows, and folded into candles. Pure: no I/O."""

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from coinbase_assets.candles.series import Granularity
from coinbase_assets.candles.table import (
    COLUMNS,
    TIME_TYPE,
    conform,
    empty_candles,
    epoch_seconds,
)
from coinbase_assets.plain_text import quoted, shown

# The most trades in an answer (the API's documentation).
MAX_TRADES = 1000
# The largest number up to which a float64 holds every whole number, as JSON parsers may use one.
LARGEST_ID = 2**53

TRADE_SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("time", TIME_TYPE, nullable=False),
        pa.field("price", pa.float64(), nullable=False),
        pa.field("size", pa.float64(), nullable=False),
    ]
)

_NUMBER = re.compile(r"[0-9]{1,30}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?")
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
    r"(Z|[+-][0-9]{2}(:?[0-9]{2})?)"
)
_PRICES = ("open", "high", "low", "close")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class InvalidTrades(ValueError):
    """Trades break a rule; the message names the row and the rule."""


@dataclass(frozen=True)
class TradePage:
    """The exchange's answer to a request for trades: a table as TRADE_SCHEMA says, ids ascending.

    `as_of` is the exchange's time of the answer, `requests` the number of requests sent for it.
    """

    trades: pa.Table
    as_of: datetime
    requests: int


def parse_trades(rows: list[object]) -> pa.Table:
    """Turn an answer's rows into trades with unique, ascending ids.

    Exact repeats of a row are dropped. Raises InvalidTrades for everything that breaks a rule.
    """
    trades: dict[int, tuple[int, datetime, float, float]] = {}
    for row in rows:
        try:
            trade = _trade(row)
            if trades.setdefault(trade[0], trade) != trade:
                raise ValueError(f"another row has the id {trade[0]}, but other values")
        except ValueError as error:
            raise InvalidTrades(f"row {shown(repr(row), 200)}: {error}") from None
    return trade_table([trades[number] for number in sorted(trades)])


def trade_table(trades: list[tuple[int, datetime, float, float]]) -> pa.Table:
    """Return a table of trades, given as `(id, time, price, size)`, in the same order."""
    columns = zip(*trades, strict=True) if trades else [()] * len(TRADE_SCHEMA)
    return pa.table(
        [pa.array(values, field.type) for values, field in zip(columns, TRADE_SCHEMA, strict=True)],
        TRADE_SCHEMA,
    )


def _trade(row: object) -> tuple[int, datetime, float, float]:
    """Return the row's id, time, price and size. Raises ValueError with the broken rule."""
    if not isinstance(row, dict):
        raise ValueError("not an object with named values")
    if missing := [name for name in ("trade_id", "time", "price", "size") if name not in row]:
        raise ValueError(f"has no {missing[0]}")
    number = row["trade_id"]
    if not isinstance(number, int) or isinstance(number, bool) or not 0 < number <= LARGEST_ID:
        raise ValueError(f"trade_id {quoted(number)} is not a whole number from 1 to 2^53")
    return number, _time(row["time"]), _positive("price", row), _positive("size", row)


def _time(text: object) -> datetime:
    try:
        if isinstance(text, str) and _TIME.fullmatch(text):
            time = datetime.fromisoformat(text).astimezone(UTC)
            if time >= _EPOCH:
                return time
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"time {quoted(text)} is not an ISO 8601 time with an offset, since 1970")


def _positive(name: str, row: dict[str, object]) -> float:
    text = row[name]
    value = float(text) if isinstance(text, str) and _NUMBER.fullmatch(text) else 0.0
    if not 0 < value < math.inf:
        raise ValueError(f"{name} {quoted(text)} is not a positive number, written as a string")
    return value


def fold_trades(trades: pa.Table, granularity: Granularity) -> pa.Table:
    """Return the candles made of the trades, ascending; a bucket without trades has no candle.

    A candle opens with the lowest id in its bucket and closes with the highest. Its volume is the
    sum of the sizes, rounded once.
    """
    if not trades.num_rows:
        return empty_candles()
    trades = trades.sort_by("id")
    bucket = epoch_seconds(trades["time"]) // granularity.seconds * granularity.seconds
    order = np.argsort(bucket, kind="stable")
    bucket, price = bucket[order], trades["price"].to_numpy()[order]
    starts = np.flatnonzero(np.diff(bucket, prepend=bucket[0] - 1))
    sizes = np.split(trades["size"].to_numpy()[order], starts[1:])
    prices = {
        column.name: column.fold(price, starts) for column in COLUMNS if column.name in _PRICES
    }
    time = pa.array(bucket[starts] * 1_000_000).cast(TIME_TYPE)
    return conform(
        pa.table({"time": time, **prices, "volume": [math.fsum(size) for size in sizes]})
    )
