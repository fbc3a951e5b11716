"""Books with known trades, and which of their candles the exchange has lost.

Times are epoch seconds, UTC.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from coinbase_assets.candles.series import Granularity
from coinbase_assets_tests.stand_in.disagreements import Disagreement, minutes_of
from coinbase_assets_tests.stand_in.losses import Kind, LossyMarket
from coinbase_assets_tests.stand_in.markets import Candles, Market
from coinbase_assets_tests.stand_in.trades import TradeTape

DAY = 86_400
_MONTH = 30 * DAY


@dataclass(frozen=True)
class Book:
    """A true market. From `start` on, `days` days of it are collected."""

    name: str
    start: int
    days: int
    minutes: Candles
    tape: TradeTape

    @classmethod
    def of(cls, name: str, market: Market, first: date, days: int) -> "Book":
        """Return the book of so many days. Candles reach a day beyond them, trades a month."""
        start = int(datetime(first.year, first.month, first.day, tzinfo=UTC).timestamp())
        end = start + days * DAY
        tape = TradeTape(market=market, start=start - _MONTH, end=end + _MONTH)
        return cls(name, start, days, minutes_of(market, start - DAY, end + DAY), tape)

    @property
    def end(self) -> int:
        return self.start + self.days * DAY

    @property
    def keys(self) -> Sequence[str]:
        """The keys of the days."""
        first = datetime.fromtimestamp(self.start, UTC).date()
        return [str(first + timedelta(days=number)) for number in range(self.days)]


@dataclass(frozen=True)
class Case:
    """Days of a series of a book, in which candles are lost: runs of so many buckets, by length."""

    book: Book
    granularity: str
    disagreement: Disagreement = "d"
    kind: Kind | None = None
    lost: Mapping[int, set[int]] = field(default_factory=dict)

    @property
    def step(self) -> int:
        return Granularity(self.granularity).seconds

    @property
    def true(self) -> Candles:
        return self.book.minutes.aggregate(self.step)

    @property
    def all_lost(self) -> set[int]:
        return set().union(*self.lost.values())

    def market(self) -> LossyMarket:
        """Return what the exchange answers."""
        kind = self.kind or "every answer"
        return LossyMarket(self.book.minutes, self.step, kind, self.all_lost, self.disagreement)
