"""Days examined by coarser candles, and asked for again where these show more."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import pyarrow as pa

from coinbase_assets.candles.calendar import DAY, HOUR
from coinbase_assets.candles.days import Day
from coinbase_assets.candles.series import Granularity, Series
from coinbase_assets.candles.table import (
    empty_candles,
    epoch_seconds,
    merge_candles,
    without_candles,
)
from coinbase_assets.candles.windows import MAX_CANDLES, Window, join_windows, request_windows
from coinbase_assets.collection.allowance import Allowance
from coinbase_assets.collection.coarser_candles import CoarserCandles
from coinbase_assets.completeness.agreement import (
    DAYS_REMEMBERED,
    Agreement,
    coarsest_reliable,
    count_relations,
    total_agreement,
)
from coinbase_assets.completeness.examination import Examination, Witnesses, examine, witness_levels
from coinbase_assets.completeness.weighing import missing_candles, withdrawn
from coinbase_assets.exchange.resource import BlockingExchange

# How often the windows of a day in doubt are asked for again.
_TIMES_ASKED_AGAIN = 2


@dataclass(frozen=True)
class Reconciled:
    """A day as asked for, perhaps more than once, and its witnesses, if it was examined.

    The `absent` candles, stored before, are withdrawn by the exchange. A day may be
    `outside_lifetime` of its product.
    """

    day: Day
    witnesses: Witnesses | None = None
    absent: pa.Table | None = None
    outside_lifetime: bool = False


class Reconciler:
    """Examines the days of one series from `start` until `end`, taken in order.

    `nearest` has the agreement of stored days around, the nearest last. The daily candles cost a
    request for 300 days. All other requests count against the allowance.
    """

    def __init__(
        self,
        exchange: BlockingExchange,
        series: Series,
        start: datetime,
        end: datetime,
        nearest: Sequence[Agreement] = (),
        allowance: Allowance | None = None,
    ) -> None:
        own = len(list(request_windows(start, end, series.granularity)))
        self.allowance = allowance or Allowance.of_collection(own)
        self._exchange = exchange
        self._series = series
        self._agreements = deque(nearest, DAYS_REMEMBERED)
        self._levels = witness_levels(series.granularity)
        # The day before the first one tells whether anything was traded until then.
        self._daily = CoarserCandles(
            exchange, series.product, Granularity.ONE_DAY, (start - DAY, end), None
        )
        self._coarser = {
            level: CoarserCandles(exchange, series.product, level, (start, end), self.allowance)
            for level in self._levels
        } | {Granularity.ONE_DAY: self._daily}

    def reconcile(self, day: Day, stored: Day | None) -> Reconciled:
        """Ask again for what the day, with what is stored of it, seems to lack.

        An open day is left as it is. Raises ExchangeError.
        """
        if not day.closed or self._is_open_by_daily_answer(day):
            return Reconciled(day)
        witnesses = self._first_witnesses(day)
        for again in range(_TIMES_ASKED_AGAIN + 1):
            witnesses, found = self._examine(day, stored, witnesses)
            windows = self._affordable([*found.suspects, *_unanswered(day, stored, witnesses)])
            if not windows or again == _TIMES_ASKED_AGAIN:
                break
            asked = self._ask_again(day, windows)
            is_repeated = asked.candles.equals(day.candles) and all(
                any(map(each.lies_in, windows)) for each in found.suspects
            )
            day = replace(asked, repeated=is_repeated)
        return reconciled_day(day, stored, witnesses)

    def learn(self, reconciled: Reconciled, stored: Day | None) -> None:
        """Count what coarser candles say of a day, so that later days begin at reliable ones."""
        if reconciled.witnesses:
            merged = merged_day(reconciled.day, stored, reconciled.absent)
            self._agreements.append(
                count_relations(examine(merged, reconciled.witnesses).relations)
            )

    def may_precede_listing(self, day: Day) -> bool:
        """Whether no daily candle before the day was seen, though it has a hole."""
        return bool(day.closed and day.is_hole.any()) and not self._daily.any_before(day.start)

    def may_follow_delisting(self, day: Day) -> bool:
        """Whether nothing at all was traded on the day."""
        if not day.closed or day.candles.num_rows:
            return False
        daily = self._daily.of(day)
        return daily is not None and not daily.candles.num_rows

    def _is_open_by_daily_answer(self, day: Day) -> bool:
        """Whether the answer with the daily candle came before the end of the day.

        Then one of the two answers has a wrong time.
        """
        daily = self._daily.of(day)
        return daily is not None and daily.as_of < day.start + DAY

    def _first_witnesses(self, day: Day) -> Witnesses:
        agreement = total_agreement(self._agreements)
        exact = frozenset(level for level, counts in agreement.items() if counts.is_exact)
        daily = self._daily.of(day)
        known = {Granularity.ONE_DAY: daily} if daily and self._levels[0].delta == DAY else {}
        return Witnesses(coarsest_reliable(agreement, self._levels), known, exact=exact)

    def _examine(
        self, day: Day, stored: Day | None, witnesses: Witnesses
    ) -> tuple[Witnesses, Examination]:
        """Examine the day, and ask for the coarser candles that this takes.

        Coarser answers that are older than the day's must be asked for again before they blame it.
        """
        merged = merged_day(day, stored)
        days = [merged, day] if _missing(day, stored).num_rows else [merged]
        witnesses = self._with_needed_levels(days, witnesses)
        for level in examine(merged, witnesses).blaming:
            if witnesses.levels[level].as_of < day.refreshed_at:
                witnesses = self._with_level(day, witnesses, level, day.refreshed_at)
        witnesses = self._with_needed_levels(days, witnesses)
        return witnesses, examine(merged, witnesses)

    def _with_needed_levels(self, days: Sequence[Day], witnesses: Witnesses) -> Witnesses:
        for day in days:
            while needs := examine(day, witnesses).needs:
                asked = self._with_level(day, witnesses, needs)
                if asked is witnesses:
                    break
                witnesses = asked
        return witnesses

    def _with_level(
        self, day: Day, witnesses: Witnesses, level: Granularity, since: datetime | None = None
    ) -> Witnesses:
        answered = self._coarser[level].of(day, since)
        if not answered:
            return witnesses
        return replace(witnesses, levels={**witnesses.levels, level: answered})

    def _affordable(self, suspects: Sequence[Window]) -> Sequence[Window]:
        """Return the windows to ask for again, as far as the allowance suffices, joined.

        A bucket that takes several requests is left out: the exchange's own candles in it differ,
        so that the same answer is likely.
        """
        granularity = self._series.granularity
        short = [
            each for each in suspects if each.end - each.start <= MAX_CANDLES * granularity.delta
        ]
        return [
            window
            for window in join_windows(short)
            if self.allowance.take(
                len(list(request_windows(window.start, window.end, granularity)))
            )
        ]

    def _ask_again(self, day: Day, windows: Sequence[Window]) -> Day:
        """Return the day with what the exchange now answers for these windows."""
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


def reconciled_day(day: Day, stored: Day | None, witnesses: Witnesses) -> Reconciled:
    """Return the day with its witnesses, and with the stored candles that they disprove."""
    absent = withdrawn(day, _missing(day, stored), witnesses) if stored else empty_candles()
    return Reconciled(day, witnesses, absent)


def _unanswered(day: Day, stored: Day | None, witnesses: Witnesses) -> Sequence[Window]:
    """Return the hours with a stored candle that the newest answer lacks, unless withdrawn."""
    missing = _missing(day, stored)
    if not missing.num_rows:
        return []
    gone = withdrawn(day, missing, witnesses)
    length = max(HOUR, day.series.granularity.delta)
    first = (length * ((time - day.start) // length) for time in _times(missing, gone))
    return [Window(day.start + since, day.start + since + length) for since in first]


def _times(candles: pa.Table, dropped: pa.Table) -> Sequence[datetime]:
    return without_candles(candles, dropped)["time"].to_pylist()


def merged_day(day: Day, stored: Day | None, absent: pa.Table | None = None) -> Day:
    """Return the day over what is stored of it, without the stored candles that are `absent`."""
    return day.merged_with(stored, absent) if stored else day


def _missing(day: Day, stored: Day | None) -> pa.Table:
    """Return the stored candles that the exchange once answered and now does not."""
    if not stored:
        return empty_candles()
    missing = missing_candles(stored, day)
    is_made = [time in stored.from_trades for time in epoch_seconds(missing["time"]).tolist()]
    return without_candles(missing, missing.filter(pa.array(is_made, pa.bool_())))
