"""The ledger of a month: what each of its buckets is, as intervals. Pure: no Dagster, no I/O."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from functools import cache, cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coinbase_assets.candles.calendar import DAY
from coinbase_assets.candles.days import SETTLED_AFTER, refreshed_at
from coinbase_assets.candles.evidence import AGAIN, Evidence, Lifetime
from coinbase_assets.candles.series import Series
from coinbase_assets.candles.table import TIME_TYPE
from coinbase_assets.completeness.hole_statistics import runs, unusual_holes


class State(StrEnum):
    """What a bucket is, and why it has a candle or none."""

    TRADED = "traded"
    NO_TRADES = "no_trades"
    UNCONFIRMED = "unconfirmed"
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

_STATES = list(State)
_CODES = {state: code for code, state in enumerate(_STATES)}


@dataclass(frozen=True)
class DayFacts:
    """What is known of a raw day besides its candles."""

    answered_through: datetime
    refreshed_at: datetime
    evidence: Evidence | None

    @classmethod
    def of(cls, fields: Mapping[str, str]) -> "DayFacts":
        """From the fields of the day's table."""
        return cls(
            datetime.fromisoformat(fields["answered_through"]),
            refreshed_at(fields),
            Evidence.from_fields(fields),
        )


@dataclass(frozen=True)
class MonthFacts:
    """What the ledger of a month is made of.

    `candles` are the starts of the candles in epoch seconds. `days` has an entry for each day of
    the month, None if it was not collected. `lifetimes` are those of the product, ascending.
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
    explain = cache(lambda state, first, last: _explain(month, state, first, last))
    a_day = month.buckets_a_day
    columns = [
        [month.start + first * step for first, _, _ in rows],
        [month.start + end * step for _, end, _ in rows],
        [end - first for first, end, _ in rows],
        [state.value for _, _, state in rows],
        [explain(state, first // a_day, (end - 1) // a_day) for first, end, state in rows],
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
    for contradicted in _contradicted(month):
        codes[contradicted] = _CODES[State.UNCONFIRMED]
    codes[month.traded] = _CODES[State.TRADED]
    return codes


def _states_of_day(month: MonthFacts, number: int) -> np.ndarray:
    """The codes of a day's buckets, had they no candle and were there no contrary evidence."""
    state = State.NOT_COLLECTED if month.is_over(number) else State.OPEN
    codes = np.full(month.buckets_a_day, _CODES[state])
    if day := month.days[number]:
        answered = day.answered_through - month.day_start(number)
        codes[: answered // month.series.granularity.delta] = _CODES[
            _state_without_candle(month, number, day)
        ]
    return codes


def _state_without_candle(month: MonthFacts, number: int, day: DayFacts) -> State:
    """What an answered bucket without a candle is; a day is compared in the night after it."""
    if day.evidence:
        return State.NO_TRADES
    return State.UNCONFIRMED if month.is_over(number, SETTLED_AFTER) else State.OPEN


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


def _contradicted(month: MonthFacts) -> Iterator[slice]:
    """The buckets in which the exchange's coarser candles show trades that no candle holds.

    Of the holes in an hour it is those longer than chance makes them, if there is one, else all.
    """
    a_day = month.buckets_a_day
    hours_a_bucket = max(1, 24 // a_day)
    for number, day in enumerate(month.days):
        contradicted = day.evidence.contradicted if day and day.evidence else ()
        unusual = _unusual_holes(month, number) if contradicted else []
        for hour in (one for hours in contradicted for one in hours[::hours_a_bucket]):
            first, end = ((number * 24 + h) * a_day // 24 for h in (hour, hour + hours_a_bucket))
            reaching = [
                slice(max(a, first), min(b, end)) for a, b in unusual if a < end and first < b
            ]
            yield from reaching or [slice(first, end)]


def _unusual_holes(month: MonthFacts, number: int) -> list[tuple[int, int]]:
    """The unusually long holes of a day, as buckets of the month."""
    begin = number * month.buckets_a_day
    is_hole = np.ones(month.buckets_a_day, bool)
    of_day = month.traded[(month.traded >= begin) & (month.traded < begin + month.buckets_a_day)]
    is_hole[of_day - begin] = False
    return [(begin + first, begin + end) for first, end in unusual_holes(is_hole)]


def _explain(month: MonthFacts, state: State, first: int, last: int) -> str:
    """What says that buckets from one day of the month to another are in that state."""
    match state:
        case State.BEFORE_LISTING:
            return f"first traded on {month.lifetimes[0].first_day}"
        case State.AFTER_DELISTING:
            start = month.day_start(first).date()
            ends = [each.last_day for each in month.lifetimes if each.last_day]
            return f"delisted, last traded on {max(end for end in ends if end <= start)}"
        case State.NOT_COLLECTED:
            return "no answer is stored"
    times: dict[str, list[datetime]] = {}
    for day in month.days[first : last + 1]:
        what, when = _said_of(state, day)
        times.setdefault(what, []).extend([when] if when else [])
    return "; ".join(what + _span(when) for what, when in times.items())


def _said_of(state: State, day: DayFacts | None) -> tuple[str, datetime | None]:
    if state == State.TRADED and day:
        return "answered", day.refreshed_at
    if state == State.OPEN:
        return "the day is not over, or not compared yet", day.refreshed_at if day else None
    evidence = day.evidence if day else None
    if not evidence:
        return "not compared with coarser candles", None
    again = evidence.compared_with == AGAIN
    if state == State.UNCONFIRMED:
        source = "another answer shows" if again else f"the {evidence.compared_with} candles show"
        return f"{source} trades missing here, as of", evidence.compared_at
    said = "asked twice" if again else f"as the {evidence.compared_with} candles say"
    return said, evidence.compared_at


def _span(times: Sequence[datetime]) -> str:
    if not times:
        return ""
    first, last = (f"{time:%FT%TZ}" for time in (min(times), max(times)))
    return f" {first}" if first == last else f" {first} to {last}"
