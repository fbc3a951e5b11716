"""Days compared with the exchange's coarser candles, and asked for again where these show more."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import pyarrow as pa

from coinbase_assets.candles.calendar import DAY
from coinbase_assets.candles.days import Day
from coinbase_assets.candles.series import Granularity, Series
from coinbase_assets.candles.table import clip_candles, empty_candles, merge_candles
from coinbase_assets.candles.windows import MAX_CANDLES, Answer, Window
from coinbase_assets.completeness.reconciliation import (
    HOUR,
    Reference,
    confirmed_absent,
    is_doubtful,
    missing_candles,
    suspects,
)
from coinbase_assets.exchange.resource import BlockingExchange

# How often the windows of a day in doubt are asked for again.
_TIMES_ASKED_AGAIN = 2


@dataclass(frozen=True)
class Reconciled:
    """A day as asked for, perhaps more than once, and what it was compared with, if it was.

    The `absent` candles, stored before, are neither in it nor in coarser candles.
    """

    day: Day
    reference: Reference | None = None
    absent: pa.Table | None = None


class Reconciler:
    """Compares the days of one series from `start` to before `end`, taken in order.

    Daily candles cost a request for 300 days, hourly ones, asked for where a day is in doubt, one
    for 12 days.
    """

    def __init__(
        self, exchange: BlockingExchange, series: Series, start: datetime, end: datetime
    ) -> None:
        self._exchange = exchange
        self._series = series
        # The day before the first one tells whether anything was traded until then.
        self._daily = _CoarserCandles(exchange, series, Granularity.ONE_DAY, start - DAY, end)
        self._hourly = _CoarserCandles(exchange, series, Granularity.ONE_HOUR, start, end)

    def reconcile(self, day: Day, stored: Day | None) -> Reconciled:
        """Ask again for what the day, with what is stored of it, seems to lack.

        An open day is left as it is. Raises ExchangeError.
        """
        if not day.closed:
            return Reconciled(day)
        daily, as_of = self._daily.of(day)
        reference = Reference(daily, None, as_of)
        if not _missing(day, stored).num_rows and not is_doubtful(_merged(day, stored), reference):
            return Reconciled(day, reference)
        if self._series.granularity.delta < HOUR:
            hourly, hourly_as_of = self._hourly.of(day)
            reference = Reference(daily, hourly, min(as_of, hourly_as_of))
        for _ in range(_TIMES_ASKED_AGAIN):
            windows = suspects(_merged(day, stored), _missing(day, stored), reference)
            if not windows:
                break
            day = self._ask_again(day, windows)
            reference = replace(reference, asked_again=True)
        absent = confirmed_absent(day, _missing(day, stored), reference)
        return Reconciled(day, reference, absent)

    def may_precede_listing(self, day: Day) -> bool:
        """Whether no daily candle before the day was seen, though it has a hole."""
        return bool(day.closed and day.is_hole.any()) and not self._daily.any_before(day.start)

    def may_follow_delisting(self, day: Day) -> bool:
        """Whether nothing at all was traded on the day."""
        return day.closed and not day.candles.num_rows and not self._daily.of(day)[0].num_rows

    def _ask_again(self, day: Day, windows: Sequence[Window]) -> Day:
        """The day with what the exchange now answers for these windows."""
        answers = [
            answer
            for window in windows
            for answer in self._exchange.fetch_candles(self._series, window.start, window.end)
        ]
        return replace(
            day,
            candles=merge_candles(day.candles, *(answer.candles for answer in answers)),
            refreshed_at=max(day.refreshed_at, *(answer.as_of for answer in answers)),
            requests=day.requests + sum(answer.requests for answer in answers),
        )


class _CoarserCandles:
    """Candles of a coarser granularity, asked for in whole days, as many as a request may hold."""

    def __init__(
        self,
        exchange: BlockingExchange,
        series: Series,
        granularity: Granularity,
        start: datetime,
        end: datetime,
    ) -> None:
        self._exchange = exchange
        self._series = Series(series.product, granularity)
        self._start = start
        self._end = end
        self._days = MAX_CANDLES * granularity.delta // DAY * DAY
        self._answers: dict[datetime, Answer] = {}

    def of(self, day: Day) -> tuple[pa.Table, datetime]:
        """Those of the day, and the exchange's time of the answer."""
        start = self._start + (day.start - self._start) // self._days * self._days
        if start not in self._answers:
            end = min(start + self._days, self._end)
            (self._answers[start],) = self._exchange.fetch_candles(self._series, start, end)
        answer = self._answers[start]
        return clip_candles(answer.candles, day.start, day.start + DAY), answer.as_of

    def any_before(self, time: datetime) -> bool:
        return any(
            answer.candles.num_rows and answer.candles["time"][0].as_py() < time
            for answer in self._answers.values()
        )


def _merged(day: Day, stored: Day | None) -> Day:
    return day.merged_with(stored) if stored else day


def _missing(day: Day, stored: Day | None) -> pa.Table:
    return missing_candles(stored, day) if stored else empty_candles()
