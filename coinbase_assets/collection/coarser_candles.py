"""Candles of coarser granularities, asked for in whole days, as many as a request may hold."""

from datetime import datetime

from coinbase_assets.candles.calendar import DAY
from coinbase_assets.candles.days import Day
from coinbase_assets.candles.series import Granularity, Series
from coinbase_assets.candles.table import clip_candles
from coinbase_assets.candles.windows import MAX_CANDLES, Answer
from coinbase_assets.collection.allowance import Allowance
from coinbase_assets.completeness.examination import Answered
from coinbase_assets.exchange.resource import BlockingExchange


class CoarserCandles:
    """Candles of one granularity from `start` until `end`; each answer is kept.

    A request is sent if `allowance` has one left; None stands for no limit.
    """

    def __init__(
        self,
        exchange: BlockingExchange,
        product: str,
        granularity: Granularity,
        span: tuple[datetime, datetime],
        allowance: Allowance | None,
    ) -> None:
        self._exchange = exchange
        self._series = Series(product, granularity)
        self._start, self._end = span
        self._days = MAX_CANDLES * granularity.delta // DAY * DAY
        self._allowance = allowance
        self._answers: dict[datetime, Answer] = {}

    def of(self, day: Day, since: datetime | None = None) -> Answered | None:
        """Return the candles of the day, from an answer of the exchange's time `since` or later.

        Returns None if the allowance does not suffice. Raises ExchangeError.
        """
        start = self._start + (day.start - self._start) // self._days * self._days
        answer = self._answers.get(start)
        if answer is None or (since and answer.as_of < since):
            if self._allowance and not self._allowance.take():
                return None
            end = min(start + self._days, self._end)
            (answer,) = self._exchange.fetch_candles(self._series, start, end)
            self._answers[start] = answer
        return Answered(clip_candles(answer.candles, day.start, day.start + DAY), answer.as_of)

    def any_before(self, time: datetime) -> bool:
        return any(
            answer.candles.num_rows and answer.candles["time"][0].as_py() < time
            for answer in self._answers.values()
        )
