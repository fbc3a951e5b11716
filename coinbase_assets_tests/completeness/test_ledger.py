"""The ledger of a month: every bucket is in one interval and in the right state."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest

from coinbase_assets.candles.calendar import DAY, month_range
from coinbase_assets.candles.evidence import Evidence, Lifetime
from coinbase_assets.candles.proofs import Proof
from coinbase_assets.candles.series import Granularity, Series
from coinbase_assets.completeness.ledger import (
    COVERAGE_SCHEMA,
    DayFacts,
    MonthFacts,
    State,
    build_ledger,
    count_buckets,
)

HOUR = timedelta(hours=1)
LATE = datetime(2024, 6, 1, tzinfo=UTC)
ALWAYS = Lifetime()
AGREES = Evidence(LATE, "the 1d candles agree")
WHOLE = DayFacts(datetime.max.replace(tzinfo=UTC), LATE, AGREES)


@dataclass(frozen=True)
class Month:
    """A month in which `traded` are the numbers of the buckets with a candle."""

    key: str = "2024-02"
    granularity: str = "1h"
    traded: Collection[int] = ()
    lifetime: Lifetime = ALWAYS
    later: Sequence[Lifetime] = ()

    def facts(self, days: Mapping[int, DayFacts | None], others: DayFacts | None) -> MonthFacts:
        """Return the facts of the month: of these days, numbered from 1, and of all `others`."""
        start, end = month_range(self.key)
        series = Series.parse(f"ETH-EUR:{self.granularity}")
        known = [
            facts and replace(facts, answered_through=min(facts.answered_through, day + DAY))
            for number in range((end - start) // DAY)
            for day, facts in [(start + number * DAY, days.get(number + 1, others))]
        ]
        times = int(start.timestamp()) + np.array(sorted(self.traded), int) * (
            series.granularity.seconds
        )
        lifetime = self.lifetime
        if lifetime.last_day and not lifetime.closed_at:
            lifetime = replace(lifetime, closed_at=LATE)
        return MonthFacts(series, start, known, times, [lifetime, *self.later])

    def states(
        self, days: Mapping[int, DayFacts | None] | None = None, others: DayFacts | None = WHOLE
    ) -> list[tuple[State, int]]:
        """Return the states of the ledger and their numbers of buckets, in order."""
        ledger = build_ledger(self.facts(days or {}, others))
        return [(State(row["state"]), row["buckets"]) for row in ledger.to_pylist()]


def proof(day: int, hours: range, state: str, witness: str, as_of: datetime = LATE) -> Proof:
    """Return a proof for hours of a day of February 2024."""
    return Proof(feb(day, hours.start), feb(day, hours.stop), state, witness, as_of)


def proven(*proofs: Proof) -> DayFacts:
    return replace(WHOLE, evidence=Evidence(LATE, proofs=proofs))


def answered(day: int, hours: float, refreshed_at: datetime = LATE) -> DayFacts:
    """Return the facts of a day of February 2024, answered for its first hours, not compared."""
    return DayFacts(datetime(2024, 2, day, tzinfo=UTC) + hours * HOUR, refreshed_at, None)


def feb(day: int, hours: float = 0) -> datetime:
    return datetime(2024, 2, 1, tzinfo=UTC) + (day - 1) * DAY + hours * HOUR


TRADED, NO_TRADES, UNCONFIRMED, UNPROVABLE, PENDING, *_ = State
*_, BEFORE_LISTING, AFTER_DELISTING, NOT_COLLECTED, OPEN = State
SHOWN = "the 1h candle shows more"


# Tiling


@pytest.mark.parametrize("granularity", list(Granularity))
@pytest.mark.parametrize(
    ("month", "days"), [("2023-02", 28), ("2024-02", 29), ("2024-04", 30), ("2024-12", 31)]
)
def test_ledger_tiles_month(granularity: Granularity, month: str, days: int) -> None:
    buckets = days * (DAY // granularity.delta)
    start, end = month_range(month)
    ledger = build_ledger(Month(month, granularity, [0, buckets - 1]).facts({}, WHOLE))
    assert ledger.schema.equals(COVERAGE_SCHEMA)
    rows = [tuple(row.values())[:4] for row in ledger.to_pylist()]
    step = granularity.delta
    assert rows == [
        (start, start + step, 1, "traded"),
        (start + step, end - step, buckets - 2, "no_trades"),
        (end - step, end, 1, "traded"),
    ]


@pytest.mark.parametrize("granularity", list(Granularity))
def test_ledger_one_state_is_one_interval(granularity: Granularity) -> None:
    buckets = 29 * (DAY // granularity.delta)
    assert Month(granularity=granularity).states() == [(NO_TRADES, buckets)]
    assert Month(granularity=granularity).states(others=None) == [(NOT_COLLECTED, buckets)]
    assert Month(granularity=granularity, traded=range(buckets)).states() == [(TRADED, buckets)]


def test_ledger_counts_buckets_by_state() -> None:
    month = Month(traded=[5, 7], lifetime=Lifetime(first_day=date(2024, 2, 1)))
    counts = count_buckets(build_ledger(month.facts({29: None}, WHOLE)))
    assert counts == dict.fromkeys(State, 0) | {
        TRADED: 2,
        BEFORE_LISTING: 5,
        NOT_COLLECTED: 24,
        NO_TRADES: 29 * 24 - 31,
    }


# Days collected, or not


def test_ledger_day_not_collected() -> None:
    month = Month(traded=range(24 * 29))
    month = replace(month, traded=[n for n in month.traded if not 240 <= n < 264])
    assert month.states({11: None}) == [(TRADED, 240), (NOT_COLLECTED, 24), (TRADED, 18 * 24)]


def test_ledger_unanswered_part_of_day_not_collected() -> None:
    month = Month(traded=[n for n in range(24 * 29) if not 29 <= n < 48])
    assert month.states({2: answered(2, 7)}) == [
        (TRADED, 29),
        (UNCONFIRMED, 2),
        (NOT_COLLECTED, 17),
        (TRADED, 27 * 24),
    ]


def test_ledger_open_day_and_later_days() -> None:
    known = {1: replace(WHOLE, refreshed_at=feb(2, 1)), 2: answered(2, 10, feb(2, 10.4))}
    month = Month(traded=[0, 23, 25, 33])
    assert month.states(known, None) == [
        (TRADED, 1),
        (NO_TRADES, 22),
        (TRADED, 1),
        (OPEN, 1),
        (TRADED, 1),
        (OPEN, 7),
        (TRADED, 1),
        (OPEN, 14 + 27 * 24),
    ]


@pytest.mark.parametrize(
    ("hours", "state"), [(24, OPEN), (47.99, OPEN), (48, UNCONFIRMED), (99, UNCONFIRMED)]
)
def test_ledger_hole_unconfirmed_until_compared(hours: float, state: State) -> None:
    day = answered(1, 24, feb(1, hours))
    assert Month().states({1: day}, None)[0][0] == state


@pytest.mark.parametrize("hours", [24, 47, 99])
def test_ledger_hole_confirmed_once_compared(hours: float) -> None:
    day = replace(WHOLE, refreshed_at=feb(1, hours))
    assert Month().states({1: day}, None)[0] == (NO_TRADES, 24)


@pytest.mark.parametrize(("hours", "state"), [(23.99, OPEN), (24, NOT_COLLECTED)])
def test_ledger_missing_part_not_collected_once_day_is_over(hours: float, state: State) -> None:
    known = {1: answered(1, 10, feb(1, hours))}
    assert Month(traded=range(10)).states(known, None)[1][0] == state


def test_ledger_day_over_by_newest_answer() -> None:
    known = {1: answered(1, 24, feb(2)), 3: answered(3, 1, feb(3, 1))}
    expected = [(UNCONFIRMED, 24), (NOT_COLLECTED, 24), (OPEN, 27 * 24)]
    assert Month().states(known, None) == expected


# Proofs of single holes


@pytest.mark.parametrize("granularity", ["1m", "5m", "15m", "1h"])
@pytest.mark.parametrize("hours", [range(0, 1), range(23, 24), range(7, 9), range(0, 24)])
@pytest.mark.parametrize("day", [1, 10, 29])
@pytest.mark.parametrize("state", [UNCONFIRMED, UNPROVABLE])
def test_ledger_hole_in_doubt(granularity: str, hours: range, day: int, state: State) -> None:
    an_hour = HOUR // Granularity(granularity).delta
    first, end = (((day - 1) * 24 + hour) * an_hour for hour in (hours.start, hours.stop))
    month = Month(granularity=granularity, traded=[first])
    expected = [
        (NO_TRADES, first),
        (TRADED, 1),
        (state, end - first - 1),
        (NO_TRADES, 29 * 24 * an_hour - end),
    ]
    parts = [range(0, hours.start), range(hours.stop, 24)]
    witness = [proof(day, part, "no_trades", "trades 1 to 2") for part in parts if part]
    found = month.states({day: proven(*witness, proof(day, hours, state, "nobody"))})
    assert found == [(state, buckets) for state, buckets in expected if buckets]


def test_ledger_hole_without_proof_is_unconfirmed() -> None:
    known = proven(proof(1, range(0, 2), "no_trades", "trades 1 to 2"))
    assert Month().states({1: known})[:2] == [(NO_TRADES, 2), (UNCONFIRMED, 22)]


def test_ledger_day_whose_proofs_are_gone_is_unconfirmed() -> None:
    fields = {
        "fetched_at": "2024-06-01T00:00:00Z",
        "answered_through": "2024-02-02T00:00:00Z",
        **Evidence(LATE, proofs=(proof(1, range(24), "no_trades", "x"),)).to_fields(),
    }
    assert Month().states({1: DayFacts.of(fields, None)})[0] == (UNCONFIRMED, 24)


def test_ledger_day_of_earlier_rule_is_pending() -> None:
    earlier = {"compared_at": "2024-06-01T00:00:00Z", "compared_with": "1d"}
    fields = {"fetched_at": "2024-06-01T00:00:00Z", "answered_through": "2024-02-02T00:00:00Z"}
    known = DayFacts.of({**fields, **earlier})
    assert Month(traded=[3]).states({1: known})[:4] == [
        (PENDING, 3),
        (TRADED, 1),
        (PENDING, 20),
        (NO_TRADES, 28 * 24),
    ]
    assert explained(Month(), {1: known})[0] == "compared by an earlier rule 2024-06-01T00:00:00Z"


def test_ledger_shown_trades_win_over_lifetime() -> None:
    lifetime = Lifetime(date(2024, 2, 3), date(2024, 2, 27))
    month = Month(traded=[60, 26 * 24 + 5], lifetime=lifetime)
    known = {
        2: proven(
            proof(2, range(4, 6), "unconfirmed", SHOWN),
            proof(2, range(6, 24), "unconfirmed", "no coarser candle agrees"),
        ),
        27: proven(
            proof(27, range(20), "no_trades", "trades 1 to 2"),
            proof(27, range(20, 22), "unconfirmed", SHOWN),
        ),
    }
    assert month.states(known) == [
        (BEFORE_LISTING, 28),
        (UNCONFIRMED, 2),
        (BEFORE_LISTING, 30),
        (TRADED, 1),
        (NO_TRADES, 26 * 24 + 5 - 61),
        (TRADED, 1),
        (AFTER_DELISTING, 14),
        (UNCONFIRMED, 2),
        (AFTER_DELISTING, 2 + 48),
    ]


# Lifetime


@pytest.mark.parametrize(("day", "before"), [(1, 5), (14, 13 * 24 + 5), (29, 28 * 24 + 5)])
def test_ledger_before_listing(day: int, before: int) -> None:
    month = Month(traded=[before], lifetime=Lifetime(first_day=date(2024, 2, day)))
    assert month.states() == [
        (BEFORE_LISTING, before),
        (TRADED, 1),
        (NO_TRADES, 24 * 29 - before - 1),
    ]


@pytest.mark.parametrize(("day", "last"), [(1, 5), (14, 13 * 24 + 5), (29, 28 * 24 + 5)])
def test_ledger_after_delisting(day: int, last: int) -> None:
    month = Month(traded=[last], lifetime=Lifetime(last_day=date(2024, 2, day)))
    assert month.states() == [
        (NO_TRADES, last),
        (TRADED, 1),
        (AFTER_DELISTING, 24 * 29 - last - 1),
    ]


@pytest.mark.parametrize(
    ("lifetime", "state"),
    [
        (Lifetime(first_day=date(2024, 3, 1)), BEFORE_LISTING),
        (Lifetime(first_day=date(2029, 1, 1)), BEFORE_LISTING),
        (Lifetime(first_day=date(2024, 1, 31)), NO_TRADES),
        (Lifetime(last_day=date(2024, 1, 31)), AFTER_DELISTING),
        (Lifetime(last_day=date(2019, 1, 1)), AFTER_DELISTING),
        (Lifetime(last_day=date(2024, 3, 1)), NO_TRADES),
    ],
)
@pytest.mark.parametrize("granularity", list(Granularity))
def test_ledger_lifetime_outside_month(
    lifetime: Lifetime, state: State, granularity: Granularity
) -> None:
    month = Month(granularity=granularity, lifetime=lifetime)
    assert month.states() == [(state, 29 * (DAY // granularity.delta))]


def test_ledger_days_outside_lifetime_need_no_answer() -> None:
    month = Month(lifetime=Lifetime(date(2024, 2, 3), date(2024, 2, 27)))
    expected = [(BEFORE_LISTING, 48), (NOT_COLLECTED, 25 * 24), (AFTER_DELISTING, 48)]
    assert month.states(others=None) == expected


def test_ledger_delisting_says_nothing_of_later_days() -> None:
    """The product may be listed again after the exchange's answer."""
    month = Month(lifetime=Lifetime(last_day=date(2024, 2, 3), closed_at=feb(10, 12)))
    assert month.states(others=None) == [
        (NOT_COLLECTED, 72),
        (AFTER_DELISTING, 6 * 24),
        (NOT_COLLECTED, 20 * 24),
    ]


def test_ledger_between_two_lifetimes() -> None:
    month = Month(
        lifetime=Lifetime(last_day=date(2024, 1, 20), closed_at=feb(5)),
        later=[Lifetime(date(2024, 2, 8), date(2024, 2, 12), None, feb(15))],
    )
    assert month.states({9: WHOLE}, others=None) == [
        (AFTER_DELISTING, 4 * 24),
        (NOT_COLLECTED, 4 * 24),
        (NO_TRADES, 24),
        (NOT_COLLECTED, 3 * 24),
        (AFTER_DELISTING, 2 * 24),
        (NOT_COLLECTED, 15 * 24),
    ]
    evidence = [row["evidence"] for row in build_ledger(month.facts({}, None)).to_pylist()]
    assert "last traded on 2024-01-20" in evidence[0]
    assert "last traded on 2024-02-12" in evidence[2]


def test_ledger_candle_outside_lifetime_is_traded() -> None:
    month = Month(traded=[3, 690], lifetime=Lifetime(date(2024, 2, 3), date(2024, 2, 27)))
    assert month.states() == [
        (BEFORE_LISTING, 3),
        (TRADED, 1),
        (BEFORE_LISTING, 44),
        (NO_TRADES, 25 * 24),
        (AFTER_DELISTING, 42),
        (TRADED, 1),
        (AFTER_DELISTING, 5),
    ]


def test_ledger_last_day_answered_in_part() -> None:
    month = Month(traded=[676], lifetime=Lifetime(last_day=date(2024, 2, 29)))
    assert month.states({29: answered(29, 10)})[1:] == [
        (UNCONFIRMED, 4),
        (TRADED, 1),
        (UNCONFIRMED, 5),
        (NOT_COLLECTED, 14),
    ]


def test_ledger_first_day_not_compared() -> None:
    month = Month(traded=[30], lifetime=Lifetime(first_day=date(2024, 2, 2)))
    found = month.states({2: answered(2, 24)})
    assert found[:3] == [(BEFORE_LISTING, 24), (UNCONFIRMED, 6), (TRADED, 1)]


# The evidence in the ledger


def explained(month: Month, days: Mapping[int, DayFacts | None]) -> list[str]:
    return build_ledger(month.facts(days, WHOLE))["evidence"].to_pylist()


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (WHOLE, "the 1d candles agree, as of 2024-06-01T00:00:00Z"),
        (
            proven(proof(1, range(24), "unconfirmed", SHOWN)),
            "the 1h candle shows more, as of 2024-06-01T00:00:00Z",
        ),
        (
            proven(*(proof(1, range(n, n + 1), "no_trades", f"trade {n}") for n in range(24))),
            "trade 0, as of 2024-06-01T00:00:00Z; trade 1, as of 2024-06-01T00:00:00Z;"
            " trade 2, as of 2024-06-01T00:00:00Z; and 21 more witnesses",
        ),
        (proven(), "no proof is stored 2024-06-01T00:00:00Z"),
        (answered(1, 24), "not compared with coarser candles"),
        (None, "no answer is stored"),
    ],
)
def test_ledger_evidence_of_hole(known: DayFacts | None, said: str) -> None:
    assert explained(Month(traded=[24]), {1: known})[0] == said


def test_ledger_evidence_of_other_states() -> None:
    lifetime = Lifetime(date(2024, 2, 2), date(2024, 2, 28))
    month = Month(traded=range(24, 28 * 24), lifetime=lifetime)
    later = replace(WHOLE, refreshed_at=LATE + HOUR)
    assert explained(month, {5: later}) == [
        "first traded on 2024-02-02",
        "answered 2024-06-01T00:00:00Z to 2024-06-01T01:00:00Z",
        "delisted, last traded on 2024-02-28",
    ]
    running = Month().facts({1: answered(1, 10, feb(1, 10))}, None)
    said = "the day is not over, or not compared yet 2024-02-01T10:00:00Z"
    assert build_ledger(running)["evidence"].to_pylist() == [said]


def test_ledger_evidence_of_interval_over_days() -> None:
    hourly = replace(WHOLE, evidence=Evidence(LATE - HOUR, "the 1h candles agree"))
    daily = replace(WHOLE, evidence=Evidence(feb(9), "the 1d candles agree"))
    assert explained(Month(), {2: hourly, 3: daily}) == [
        "the 1d candles agree, as of 2024-02-09T00:00:00Z to 2024-06-01T00:00:00Z;"
        " the 1h candles agree, as of 2024-05-31T23:00:00Z"
    ]


def test_day_facts_of_version_0_1() -> None:
    fields = {"fetched_at": "2024-02-03T01:02:03Z", "answered_through": "2024-02-02T00:00:00Z"}
    old = DayFacts.of(fields)
    assert old == DayFacts(feb(2), feb(3) + timedelta(hours=1, minutes=2, seconds=3), None)
    newer = fields | {"refreshed_at": "2024-06-01T00:00:00Z", **AGREES.to_fields()}
    assert DayFacts.of(newer) == DayFacts(feb(2), LATE, AGREES)


# Any month


def expected_states(month: MonthFacts) -> Iterator[State]:
    """Yield the state of each bucket, found by the rules bucket by bucket."""
    step = month.series.granularity.delta
    traded = {month.start + int(n) * step for n in month.traded}
    now = max((day.refreshed_at for day in month.days if day), default=LATE)
    for number, day in enumerate(month.days):
        times = [month.start + number * DAY + n * step for n in range(DAY // step)]
        candles = [time for time in times if time in traded]
        for time in times:
            if time in traded:
                yield TRADED
            elif shown_trades(day, time):
                yield UNCONFIRMED
            else:
                yield expected_hole(day, time, candles, month.lifetimes[0], now)


def proof_of(day: DayFacts | None, time: datetime) -> Proof | None:
    proofs = day.evidence.proofs if day and day.evidence else ()
    return next((each for each in proofs if each.start <= time < each.end), None)


def shown_trades(day: DayFacts | None, time: datetime) -> bool:
    found = proof_of(day, time)
    return found is not None and found.witness == SHOWN


def expected_hole(
    day: DayFacts | None,
    time: datetime,
    candles: Sequence[datetime],
    lifetime: Lifetime,
    now: datetime,
) -> State:
    compared = day is not None and day.evidence is not None
    today, first, last = time.date(), lifetime.first_day, lifetime.last_day
    edges = candles if compared else []
    if first and (today < first or (today == first and edges and time < edges[0])):
        return BEFORE_LISTING
    if last and (today > last or (today == last and edges and time > edges[-1])):
        return AFTER_DELISTING
    ago = now - datetime(today.year, today.month, today.day, tzinfo=UTC) - DAY
    if day is None or time >= day.answered_through:
        return NOT_COLLECTED if ago >= timedelta(0) else OPEN
    if day.evidence and day.evidence.rule == 1:
        return PENDING
    if found := proof_of(day, time):
        return State(found.state)
    if day.evidence:
        return NO_TRADES if day.evidence.witness else UNCONFIRMED
    return UNCONFIRMED if ago >= DAY else OPEN


def random_month(random: np.random.Generator) -> MonthFacts:
    granularity = Granularity(random.choice(["15m", "1h", "6h"]))
    key = random.choice(["2023-02", "2024-02", "2024-04", "2024-05"])
    start, end = month_range(key)
    per_day = DAY // granularity.delta
    # Some months are not over: their newest answer came before their end.
    now = start + random.uniform(0.1, 50) * DAY
    days: dict[int, DayFacts | None] = {}
    traded = random.random((end - start) // DAY * per_day) < random.uniform(0, 1)
    for number in range((end - start) // DAY):
        midnight = start + number * DAY
        buckets = slice(number * per_day, (number + 1) * per_day)
        if random.random() < 0.15 or now < midnight:
            days[number + 1] = None
            traded[buckets] = False
            continue
        closed = min(now - midnight, DAY) // granularity.delta
        part = closed if random.random() < 0.8 else int(random.integers(0, closed + 1))
        traded[buckets][part:] = False
        compared = None
        if part == per_day and random.random() < 0.7:
            compared = random_evidence(random, midnight, now)
        days[number + 1] = DayFacts(midnight + part * granularity.delta, now, compared)
    bounds = [start.date() + timedelta(days=int(n)) for n in sorted(random.integers(-3, 34, 2))]
    first_day, last_day = (day if random.random() < 0.6 else None for day in bounds)
    lifetime = Lifetime(first_day, last_day)
    month = Month(key, granularity, np.flatnonzero(traded).tolist(), lifetime)
    return month.facts(days, None)


def random_evidence(random: np.random.Generator, midnight: datetime, now: datetime) -> Evidence:
    if random.random() < 0.3:
        return Evidence(now, rule=1)
    if random.random() < 0.5:
        return Evidence(now, "the 1d candles agree")
    said = [("no_trades", "trades 1 to 2"), ("unconfirmed", SHOWN), ("unprovable", "nobody")]
    starts = [midnight + n * 6 * HOUR for n in range(4)]
    quarters = [(start, said[random.integers(3)]) for start in starts if random.random() < 0.8]
    return Evidence(
        now, proofs=tuple(Proof(start, start + 6 * HOUR, *what, now) for start, what in quarters)
    )


@pytest.mark.parametrize("seed", range(40))
def test_ledger_random_month_follows_the_rules(seed: int) -> None:
    month = random_month(np.random.default_rng(seed))
    ledger, step = build_ledger(month), month.series.granularity.delta
    rows = ledger.to_pylist()
    assert rows[0]["start"] == month.start
    assert rows[-1]["end"] == month.start + len(month.days) * DAY
    for row, following in pairwise(rows):
        assert row["end"] == following["start"]
        assert row["state"] != following["state"]
    assert all(row["end"] - row["start"] == row["buckets"] * step for row in rows)
    assert all(row["evidence"] for row in rows)
    states = [State(row["state"]) for row in rows for _ in range(row["buckets"])]
    assert states == list(expected_states(month))
    counts = {state: states.count(state) for state in State}
    assert count_buckets(ledger) == counts


def test_ledger_random_months_have_all_states() -> None:
    months = [build_ledger(random_month(np.random.default_rng(seed))) for seed in range(40)]
    assert set(pa.concat_tables(months)["state"].to_pylist()) == set(State)
