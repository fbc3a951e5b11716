"""Trades for the stand-in exchange, made of a market's 1m candles, and lists given by a test.

Folding the trades of a minute gives exactly its candle. Data only; HTTP belongs in `answers.py`.
Times are epoch seconds, UTC.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from itertools import count
from typing import NamedTuple

import numpy as np

from coinbase_assets_tests.stand_in.markets import Market, Row

_MINUTE = 60
_UNIT = Decimal("1e-8")
# Ways to split a volume that are tried until the sum of the sizes is the volume to the last bit.
_SPLITS = 200


class Trade(NamedTuple):
    """A trade: its id, its time in microseconds since 1970, price and size as they are sent."""

    number: int
    microseconds: int
    price: str
    size: str

    def row(self) -> dict[str, object]:
        """Return the trade in the exchange's form (documented)."""
        time = datetime.fromtimestamp(self.microseconds // 1_000_000, UTC)
        fraction = self.microseconds % 1_000_000
        return {
            "time": f"{time:%FT%T}.{fraction:06}Z",
            "trade_id": self.number,
            "price": self.price,
            "size": self.size,
            "side": "buy" if self.number % 2 else "sell",
        }


@dataclass(kw_only=True)
class TradeTape:
    """The trades of a market from `start` until `end`, made of its 1m candles as they are finally.

    Ids count up from `first_id`, but the `never_issued` ones are left out. With `restart`, the ids
    of the trades from that time on count from 1 again. The `withheld` ids are missing from the
    first answer that should hold them, and then no more.
    """

    market: Market
    start: int
    end: int
    first_id: int = 1
    never_issued: Collection[int] = ()
    restart: int | None = None
    withheld: set[int] = field(default_factory=set)

    @cached_property
    def trades(self) -> Sequence[Trade]:
        """All trades, oldest first. Built by the first request, at 100,000 trades a second."""
        rows = self.market.candles(_MINUTE, self.start, self.end - _MINUTE, 2 * self.end)
        ids, restarted, trades = self._ids(self.first_id), False, []
        for row in rows:
            if not restarted and self.restart is not None and row[0] >= self.restart:
                ids, restarted = self._ids(1), True
            trades += [Trade(next(ids), *values) for values in split_candle(row)]
        return trades

    @cached_property
    def _columns(self) -> tuple[np.ndarray, np.ndarray]:
        ids, times = ([trade[place] for trade in self.trades] for place in (0, 1))
        return np.array(ids, dtype=np.int64), np.array(times, dtype=np.int64)

    def page(
        self, now: float, limit: int, after: int | None = None, before: int | None = None
    ) -> Sequence[Trade]:
        """Return the newest `limit` trades until `now` with ids below `after`, above `before`.

        They come newest first.
        """
        ids, times = self._columns
        chosen = times <= now * 1e6
        if after is not None:
            chosen &= ids < after
        if before is not None:
            chosen &= ids > before
        newest = np.flatnonzero(chosen)[-limit:][::-1]
        page = [self.trades[place] for place in newest.tolist()]
        held_back = self.withheld & {trade.number for trade in page}
        self.withheld -= held_back
        return [trade for trade in page if trade.number not in held_back]

    def _ids(self, first: int) -> Iterator[int]:
        return (number for number in count(first) if number not in self.never_issued)


def split_candle(row: Row) -> Iterator[tuple[int, str, str]]:
    """Yield time, price and size of the fewest trades that make the 1m candle.

    The sizes are multiples of 1e-8, or of a smaller unit if the volume is too small for that.
    """
    start, low, high, open_, close, volume = row
    between = [price for price in (low, high) if price not in (open_, close)]
    prices = [open_, *between, *([close] if between or close != open_ else [])]
    pause = _MINUTE * 1_000_000 // len(prices)
    begin = start * 1_000_000 + pause // 2 + start % 1_000
    sizes = _split(float(volume), len(prices))
    for place, (price, size) in enumerate(zip(prices, sizes, strict=True)):
        yield begin + pause * place, f"{Decimal(repr(price)):f}", f"{size:f}"


def _split(volume: float, parts: int) -> Sequence[Decimal]:
    """Return sizes that sum to the volume, as decimals and as floats."""
    total = Decimal(repr(volume))
    unit = min(_UNIT, Decimal(1).scaleb(int(total.as_tuple().exponent)))
    while total < 2 * parts * unit and parts > 1:
        unit /= 10
    for attempt in range(_SPLITS):
        size = (total / (parts + attempt)).quantize(unit, "ROUND_DOWN")
        sizes = [*[size] * (parts - 1), total - size * (parts - 1)]
        if math.fsum(map(float, sizes)) == volume and min(sizes) > 0:
            return sizes
    halves = [volume / 2**place for place in range(1, parts)]
    return [Decimal(repr(size)) for size in (*halves, halves[-1])]
