"""The ledger of a month: what each of its buckets is, as intervals. Pure: no Dagster, no I/O."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from operator import itemgetter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coinbase_assets.candles.calendar import DAY
from coinbase_assets.candles.days import SETTLED_AFTER, refreshed_at
from coinbase_assets.candles.evidence import RULE, Evidence, Lifetime
from coinbase_assets.candles.proofs import Proof
from coinbase_assets.candles.series import Series
from coinbase_assets.candles.table import TIME_TYPE
from coinbase_assets.completeness.hole_statistics import runs


class State(StrEnum):
    """What a bucket is, and why it has a candle or none.

    NO_TRADES is proven by a witness. UNCONFIRMED is in doubt. UNPROVABLE is in doubt, too, but the
    exchange has no witness left. PENDING was compared by an earlier rule.
    """

    TRADED = "traded"
    NO_TRADES = "no_trades"
    UNCONFIRMED = "unconfirmed"
    UNPROVABLE = "unprovable"
    PENDING = "pending"
    BEFORE_LISTING = "before_listing"
    AFTER_DELISTING = "after_delisting"
    NOT_COLLECTED = "not_collected"
    OPEN = "open"


COVERAGE_SCHEMA = pa.schema(
    [
        pa.field("start", TIME_TYPE, nullable=False),
        pa.field("end", TIME_TYPE, nullable=False),
        pa.field("buckets", pa.int64(), nullable=False),
        pa.field("state", pa.string(), nullable=False),
        pa.field("evidence", pa.string(), nullable=False),
    ]
)

# Of an interval's witnesses, the ledger names so many.
_WITNESSES_NAMED = 3
_STATES = list(State)
_CODES = {state: code for code, state in enumerate(_STATES)}


@dataclass(frozen=True)
class DayFacts:
    """What is known of a raw day besides its candles."""

    answered_through: datetime
    refreshed_at: datetime
    evidence: Evidence | None

    @classmethod
    def of(cls, fields: Mapping[str, str], proofs: Sequence[Proof] | None = ()) -> "DayFacts":
        """Return the facts in the fields of a day's table, and the proofs that these name.

        `proofs` is None if the stored proofs are not those that the day names.
        """
        evidence = Evidence.from_fields(fields)
        return cls(
            datetime.fromisoformat(fields["answered_through"]),
            refreshed_at(fields),
            replace(evidence, proofs=tuple(proofs or ())) if evidence else None,
        )


@dataclass(frozen=True)
class MonthFacts:
    """What the ledger of a month is made of.

    `candles` are the starts of the candles in epoch seconds. `days` has an entry for each day of
    the month, None if it was not collected. `lifetimes` are those of the product, ascending, with
    each day on which the lake has a candle.
    """

    series: Series
    start: datetime
    days: Sequence[DayFacts | None]
    candles: np.ndarray
    lifetimes: Sequence[Lifetime]

    @property
    def buckets_a_day(self) -> int:
        return DAY // self.series.granularity.delta

    @cached_property
    def traded(self) -> np.ndarray:
        """The numbers of the month's buckets that have a candle, ascending."""
        return (self.candles - int(self.start.timestamp())) // self.series.granularity.seconds

    @cached_property
    def as_of(self) -> datetime | None:
        """The exchange's time of the newest answer, by which days are over or not."""
        return max((day.refreshed_at for day in self.days if day), default=None)

    def is_over(self, number: int, since: timedelta = timedelta(0)) -> bool:
        """Whether the day with that number in the month is, and for so long."""
        return self.as_of is None or self.as_of >= self.day_start(number + 1) + since

    def day_start(self, number: int) -> datetime:
        return self.start + number * DAY

    @cached_property
    def places(self) -> Sequence[Sequence[tuple[int, int]]]:
        """The first bucket of each day's proofs, counted from the month's start, and its end."""
        return [
            [self._places(proof, n) for proof in _proofs(day)] for n, day in enumerate(self.days)
        ]

    def _places(self, proof: Proof, number: int) -> tuple[int, int]:
        step, least = self.series.granularity.delta, number * self.buckets_a_day
        first, end = ((time - self.start) // step for time in (proof.start, proof.end))
        return max(least, first), max(least, end)

    def buckets_of(self, day: date) -> tuple[int, int]:
        """The first bucket of a day and that of the next; outside the month, one of its ends."""
        number = (day - self.start.date()).days
        first, end = (min(max(n, 0), len(self.days)) for n in (number, number + 1))
        return first * self.buckets_a_day, end * self.buckets_a_day


def build_ledger(month: MonthFacts) -> pa.Table:
    """The month's maximal intervals of one state, in order, without gap or overlap.

    Columns as in COVERAGE_SCHEMA: `start` and `end` (exclusive) on the grid, `buckets` between
    them, `state`, and `evidence`: what says so, and the exchange's time of it.
    """
    codes, step = _states_of_month(month), month.series.granularity.delta
    rows = [(first, end, _STATES[codes[first]]) for first, end in runs(codes)]
    columns = [
        [month.start + first * step for first, _, _ in rows],
        [month.start + end * step for _, end, _ in rows],
        [end - first for first, end, _ in rows],
        [state.value for _, _, state in rows],
        [_explain(month, state, first, end) for first, end, state in rows],
    ]
    return pa.table(columns, COVERAGE_SCHEMA)


def count_buckets(ledger: pa.Table) -> dict[State, int]:
    """How many buckets are in each state."""
    states, buckets = np.array(ledger["state"].to_pylist()), ledger["buckets"].to_numpy()
    return {state: int(buckets[states == state].sum()) for state in State}


def usual_pause(ledger: pa.Table) -> int:
    """How many buckets 99 of 100 holes without trades have at most; 0 without any."""
    holes = ledger.filter(pc.equal(ledger["state"], State.NO_TRADES.value))["buckets"].to_numpy()
    return int(np.quantile(holes, 0.99)) if len(holes) else 0


def _states_of_month(month: MonthFacts) -> np.ndarray:
    """The code of each bucket's state; of several that hold, the one set last here counts."""
    codes = np.concatenate([_states_of_day(month, number) for number in range(len(month.days))])
    codes[: _first_traded(month)] = _CODES[State.BEFORE_LISTING]
    for delisted in _delisted(month):
        codes[delisted] = _CODES[State.AFTER_DELISTING]
    for doubtful in _shown_trades(month):
        codes[doubtful] = _CODES[State.UNCONFIRMED]
    codes[month.traded] = _CODES[State.TRADED]
    return codes


def _states_of_day(month: MonthFacts, number: int) -> np.ndarray:
    """Return the codes of a day's buckets, had they no candle and its product one lifetime."""
    state = State.NOT_COLLECTED if month.is_over(number) else State.OPEN
    codes = np.full(month.buckets_a_day, _CODES[state])
    if not (day := month.days[number]):
        return codes
    answered = (day.answered_through - month.day_start(number)) // month.series.granularity.delta
    codes[:answered] = _CODES[_state_without_proof(month, number, day)]
    begin = number * month.buckets_a_day
    for proof, (first, end) in zip(_proofs(day), month.places[number], strict=True):
        codes[first - begin : min(end - begin, answered)] = _CODES[State(proof.state)]
    return codes


def _state_without_proof(month: MonthFacts, number: int, day: DayFacts) -> State:
    """Return the state of an answered bucket for which no proof is stored.

    A day is compared in the night after it.
    """
    if not day.evidence:
        return State.UNCONFIRMED if month.is_over(number, SETTLED_AFTER) else State.OPEN
    if day.evidence.rule != RULE:
        return State.PENDING
    return State.NO_TRADES if day.evidence.witness else State.UNCONFIRMED


def _proofs(day: DayFacts | None) -> Sequence[Proof]:
    return day.evidence.proofs if day and day.evidence else ()


def _shown_trades(month: MonthFacts) -> Iterator[slice]:
    """Yield the buckets in which the exchange shows trades, whenever the product was traded."""
    for number, day in enumerate(month.days):
        for proof, places in zip(_proofs(day), month.places[number], strict=True):
            if proof.state == State.UNCONFIRMED and proof.shows_trades:
                yield slice(*places)


def _first_traded(month: MonthFacts) -> int:
    """Return the bucket of the product's first trade; 0 if its first day is not known."""
    if day := month.lifetimes[0].first_day:
        return min(_compared(month, day), default=month.buckets_of(day)[0])
    return 0


def _delisted(month: MonthFacts) -> Iterator[slice]:
    """Yield the buckets after each end of trade, up to the day on which the exchange said so."""
    for lifetime in month.lifetimes:
        if lifetime.last_day and lifetime.closed_at:
            end = month.buckets_of(lifetime.last_day)[1]
            last = max(_compared(month, lifetime.last_day), default=end - 1)
            yield slice(last + 1, month.buckets_of(lifetime.closed_at.date())[0])


def _compared(month: MonthFacts, day: date) -> np.ndarray:
    """The buckets with a candle of a day that was compared, so that they are known to be all."""
    first, end = month.buckets_of(day)
    facts = month.days[first // month.buckets_a_day] if first < end else None
    is_compared = facts is not None and facts.evidence is not None
    return month.traded[(month.traded >= first) & (month.traded < end) & is_compared]


def _explain(month: MonthFacts, state: State, first: int, end: int) -> str:
    """Return what says that the month's buckets from `first` until `end` are in that state."""
    a_day = month.buckets_a_day
    match state:
        case State.BEFORE_LISTING:
            return f"first traded on {month.lifetimes[0].first_day}"
        case State.AFTER_DELISTING:
            start = month.day_start(first // a_day).date()
            ends = [each.last_day for each in month.lifetimes if each.last_day]
            return f"delisted, last traded on {max(end for end in ends if end <= start)}"
        case State.NOT_COLLECTED:
            return "no answer is stored"
    times: dict[str, list[datetime]] = {}
    for number in range(first // a_day, (end - 1) // a_day + 1):
        for what, when in _said_of(month, state, number, (first, end)):
            times.setdefault(what, []).extend([when] if when else [])
    return "; ".join(what + _span(when) for what, when in _most_said(times).items())


def _most_said(times: Mapping[str, list[datetime]]) -> Mapping[str, list[datetime]]:
    """Return the first witnesses, and in place of the rest their number."""
    if len(times) <= _WITNESSES_NAMED:
        return times
    named = dict(list(times.items())[:_WITNESSES_NAMED])
    return {**named, f"and {len(times) - _WITNESSES_NAMED} more witnesses": []}


def _said_of(
    month: MonthFacts, state: State, number: int, span: tuple[int, int]
) -> Iterator[tuple[str, datetime | None]]:
    """Yield what is known of a day's buckets within the span of the month's, and since when."""
    day = month.days[number]
    evidence = day.evidence if day else None
    if state == State.TRADED and day:
        yield "answered", day.refreshed_at
    elif state == State.OPEN:
        yield "the day is not over, or not compared yet", day.refreshed_at if day else None
    elif not evidence:
        yield "not compared with coarser candles", None
    elif state == State.PENDING:
        yield "compared by an earlier rule", evidence.compared_at
    elif evidence.witness:
        yield f"{evidence.witness}, as of", evidence.compared_at
    else:
        yield from _said_by_proofs(month, number, span, evidence)


def _said_by_proofs(
    month: MonthFacts, number: int, span: tuple[int, int], evidence: Evidence
) -> Iterator[tuple[str, datetime | None]]:
    places = month.places[number]
    first = bisect_right(places, span[0], key=itemgetter(1))
    end = bisect_left(places, span[1], key=itemgetter(0))
    for proof in evidence.proofs[first:end]:
        yield f"{proof.witness}, as of", proof.as_of
    if first >= end:
        yield "no proof is stored", evidence.compared_at


def _span(times: Sequence[datetime]) -> str:
    if not times:
        return ""
    first, last = (f"{time:%FT%TZ}" for time in (min(times), max(times)))
    return f" {first}" if first == last else f" {first} to {last}"
