"""Days examined by coarser candles and by trades, and asked for again where in doubt."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import pyarrow as pa

from coinbase_assets.candles.calendar import DAY, HOUR
from coinbase_assets.candles.days import Day
from coinbase_assets.candles.proofs import NO_TRADES, UNCONFIRMED, UNPROVABLE, Proof
from coinbase_assets.candles.series import Granularity, Series
from coinbase_assets.candles.table import (
    empty_candles,
    epoch_seconds,
    merge_candles,
    without_candles,
)
from coinbase_assets.candles.windows import Window, join_windows, request_windows
from coinbase_assets.collection.allowance import Allowance
from coinbase_assets.collection.coarser_candles import CoarserCandles
from coinbase_assets.collection.trade_search import TradeSearch, TradesOfHole
from coinbase_assets.completeness.agreement import (
    DAYS_REMEMBERED,
    Agreement,
    coarsest_reliable,
    count_relations,
    total_agreement,
)
from coinbase_assets.completeness.examination import (
    Examination,
    Witnesses,
    examine,
    missing_candles,
    withdrawn,
    witness_levels,
)
from coinbase_assets.exchange.resource import BlockingExchange

# How often the windows of a day in doubt are asked for again.
_TIMES_ASKED_AGAIN = 2
# A hole in which a coarser candle shows trades is in doubt so many times before it is given up.
_TRIES_BEFORE_UNPROVABLE = 4
NO_TRADES_TO_BE_HAD = "the exchange has no trades of that time"


@dataclass(frozen=True)
class Reconciled:
    """A day as asked for, perhaps more than once, and its witnesses, if it was examined.

    The `absent` candles, stored before, are withdrawn by the exchange.
    """

    day: Day
    witnesses: Witnesses | None = None
    absent: pa.Table | None = None


class Reconciler:
    """Examines the days of one series from `start` until `end`, taken in order.

    `recent` has the agreement of the days before, oldest first. The daily candles cost a request
    for 300 days. All other requests count against the allowance. Without `trades` no trade is
    asked for.
    """

    def __init__(
        self,
        exchange: BlockingExchange,
        series: Series,
        start: datetime,
        end: datetime,
        recent: Sequence[Agreement] = (),
        trades: TradeSearch | None = None,
        allowance: Allowance | None = None,
    ) -> None:
        own = len(list(request_windows(start, end, series.granularity)))
        self.allowance = allowance or Allowance.of_collection(own)
        self._exchange = exchange
        self._series = series
        self._trades = trades
        self._agreements = deque(recent, DAYS_REMEMBERED)
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
            windows = join_windows([*found.suspects, *_unanswered(day, stored, witnesses)])
            if not windows or again == _TIMES_ASKED_AGAIN:
                break
            asked = self._ask_again(day, windows)
            if not asked:
                break
            day = asked
        reconciled = _reconciled(day, stored, witnesses)
        self._agreements.append(_agreement(reconciled, stored))
        return reconciled

    def ask_for_trades(
        self, reconciled: Reconciled, stored: Day | None, every_hole: bool = False
    ) -> Reconciled:
        """Let trades decide about the holes of the newest day that coarser candles do not prove.

        With `every_hole`, about all of its holes. Raises ExchangeError.
        """
        day, witnesses = reconciled.day, reconciled.witnesses
        if not self._trades or not witnesses:
            return reconciled
        found = examine(_merged(day, stored, reconciled.absent), witnesses)
        doubts = [
            Window(proof.start, proof.end)
            for proof in found.proofs
            if every_hole or (proof.state == UNCONFIRMED and not found.needs)
        ]
        if not doubts:
            return reconciled
        longest_first = sorted(doubts, key=lambda hole: hole.start - hole.end)
        said = {hole: self._trades.look(hole, self._series.granularity) for hole in longest_first}
        day, dropped = _with_trades(day, stored, witnesses, said.values())
        shown = [
            proof
            for proof in found.proofs
            if proof.shows_trades and _tries(stored) < _TRIES_BEFORE_UNPROVABLE
        ]
        proofs = [
            proof
            for hole in doubts
            for proof in _proofs_by(said[hole], day, dropped)
            if proof.state == NO_TRADES or not any(_overlap(proof, each) for each in shown)
        ]
        reconciled = _reconciled(day, stored, replace(witnesses, by_trades=proofs))
        self._agreements[-1] = _agreement(reconciled, stored)
        return reconciled

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
        first = coarsest_reliable(total_agreement(self._agreements), self._levels)
        daily = self._daily.of(day)
        known = {Granularity.ONE_DAY: daily} if daily and self._levels[0].delta == DAY else {}
        return Witnesses(first, known)

    def _examine(
        self, day: Day, stored: Day | None, witnesses: Witnesses
    ) -> tuple[Witnesses, Examination]:
        """Examine the day, and ask for the coarser candles that this takes.

        Coarser answers that are older than the day's must be asked for again before they blame it.
        """
        merged = _merged(day, stored)
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

    def _ask_again(self, day: Day, windows: Sequence[Window]) -> Day | None:
        """Return the day with what the exchange now answers for these windows.

        Returns None if the allowance suffices for none of them.
        """
        granularity = self._series.granularity
        answers = [
            answer
            for window in windows
            if self.allowance.take(len(list(request_windows(*_span(window), granularity))))
            for answer in self._exchange.fetch_candles(self._series, window.start, window.end)
        ]
        if not answers:
            return None
        return replace(
            day,
            candles=merge_candles(day.candles, *(answer.candles for answer in answers)),
            refreshed_at=max(day.refreshed_at, *(answer.as_of for answer in answers)),
            requests=day.requests + sum(answer.requests for answer in answers),
        )


def _reconciled(day: Day, stored: Day | None, witnesses: Witnesses) -> Reconciled:
    absent = withdrawn(day, _missing(day, stored), witnesses) if stored else empty_candles()
    return Reconciled(day, witnesses, absent)


def _agreement(reconciled: Reconciled, stored: Day | None) -> Agreement:
    merged = _merged(reconciled.day, stored, reconciled.absent)
    assert reconciled.witnesses
    return count_relations(examine(merged, reconciled.witnesses).relations)


def _with_trades(
    day: Day, stored: Day | None, witnesses: Witnesses, said: Iterable[TradesOfHole]
) -> tuple[Day, pa.Table]:
    """Return the day with candles made of trades, and those candles that are left out.

    These are in buckets of which a coarser candle shows still more.
    """
    made = merge_candles(empty_candles(), *(each.candles for each in said))
    more = examine(_merged(_with_made(day, made), stored), witnesses).more
    times = made["time"].to_pylist()
    is_dropped = [any(each.start <= time < each.end for each in more) for time in times]
    dropped = made.filter(pa.array(is_dropped, pa.bool_()))
    return _with_made(day, without_candles(made, dropped)), dropped


def _with_made(day: Day, made: pa.Table) -> Day:
    new = without_candles(made, day.candles)
    times = frozenset(epoch_seconds(new["time"]).tolist())
    candles = merge_candles(new, day.candles)
    return replace(day, candles=candles, from_trades=day.from_trades | times)


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


def _tries(stored: Day | None) -> int:
    return stored.evidence.tries if stored and stored.evidence else 0


def _overlap(proof: Proof, other: Proof) -> bool:
    return proof.start < other.end and other.start < proof.end


def _proofs_by(said: TradesOfHole, day: Day, dropped: pa.Table) -> Iterator[Proof]:
    """Yield what trades prove of a hole; nothing if candles made of them were left out."""
    hole, as_of = said.hole, said.as_of or day.refreshed_at
    if not said.available:
        yield Proof(hole.start, hole.end, UNPROVABLE, NO_TRADES_TO_BE_HAD, as_of)
    elif said.witness and without_candles(said.candles, dropped).num_rows == said.candles.num_rows:
        yield Proof(hole.start, hole.end, NO_TRADES, said.witness, as_of)


def _span(window: Window) -> tuple[datetime, datetime]:
    return window.start, window.end


def _merged(day: Day, stored: Day | None, absent: pa.Table | None = None) -> Day:
    return day.merged_with(stored, absent) if stored else day


def _missing(day: Day, stored: Day | None) -> pa.Table:
    """Return the stored candles that the exchange once answered and now does not."""
    if not stored:
        return empty_candles()
    missing = missing_candles(stored, day)
    is_made = [time in stored.from_trades for time in epoch_seconds(missing["time"]).tolist()]
    return without_candles(missing, missing.filter(pa.array(is_made, pa.bool_())))
