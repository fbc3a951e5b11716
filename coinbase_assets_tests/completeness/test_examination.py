"""Holes are proven by coarser candles that equal ours, and by nothing less."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest

from coinbase_assets.candles.calendar import DAY
from coinbase_assets.candles.days import Day
from coinbase_assets.candles.proofs import NO_TRADES, UNCONFIRMED, UNPROVABLE, Proof
from coinbase_assets.candles.series import Granularity, Series
from coinbase_assets.candles.windows import Window
from coinbase_assets.completeness.examination import (
    Answered,
    Examination,
    Witnesses,
    examine,
    witness_levels,
)
from coinbase_assets.completeness.weighing import missing_candles, weigh, withdrawn
from coinbase_assets_tests.stand_in.tables import candle_table

START = datetime(2024, 1, 1, tzinfo=UTC)
ASKED, COMPARED = START + 2 * DAY, START + 3 * DAY
MINUTE = timedelta(minutes=1)
FIVE, QUARTER, HOUR, SIX, WHOLE_DAY = (
    Granularity(name) for name in ("5m", "15m", "1h", "6h", "1d")
)
ALL_LEVELS = [FIVE, QUARTER, HOUR, SIX, WHOLE_DAY]


class Trade(NamedTuple):
    minute: int
    price: float = 100.0
    volume: float = 10.0


Trades = Sequence[Trade]


def candles(trades: Trades, length: timedelta) -> pa.Table:
    """Return the candles of this length that the trades make."""
    buckets: dict[int, list[Trade]] = {}
    for trade in sorted(trades):
        buckets.setdefault(trade.minute // (length // MINUTE), []).append(trade)
    prices = [[trade.price for trade in inside] for inside in buckets.values()]
    return candle_table(
        [START + number * length for number in buckets],
        open=[first for first, *_ in prices],
        high=[*map(max, prices)],
        low=[*map(min, prices)],
        close=[last for *_, last in prices],
        volume=[sum(trade.volume for trade in inside) for inside in buckets.values()],
    )


def day(trades: Trades, granularity: str = "1m") -> Day:
    series = Series.parse(f"ETH-EUR:{granularity}")
    table = candles(trades, series.granularity.delta)
    return Day(series, START, table, ASKED, ASKED, START, START + DAY, 1)


def witnesses(
    trades: Trades,
    first: Granularity = WHOLE_DAY,
    others: Mapping[Granularity, Trades] = MappingProxyType({}),
) -> Witnesses:
    """Return the candles of all levels, made of the trades, or of the `others` of a level."""
    made = {level: others.get(level, trades) for level in ALL_LEVELS}
    answered = {level: Answered(candles(of, level.delta), COMPARED) for level, of in made.items()}
    return Witnesses(first, answered)


def without(trades: Trades, *spans: range) -> list[Trade]:
    return [trade for trade in trades if not any(trade.minute in span for span in spans)]


def said(found: Examination) -> list[tuple[int, int, str, str]]:
    """Return first minute, end, state and witness of each proof."""
    return [
        ((proof.start - START) // MINUTE, (proof.end - START) // MINUTE, proof.state, proof.witness)
        for proof in found.proofs
    ]


def minutes_of(windows: Collection[Window]) -> list[tuple[int, int]]:
    return [((w.start - START) // MINUTE, (w.end - START) // MINUTE) for w in windows]


BUSY = [Trade(n, 100 + n % 7 / 10, 1 + n % 5) for n in range(1440)]
PAUSE = range(630, 660)
QUIET = without(BUSY, PAUSE)
LESS = {
    WHOLE_DAY: without(QUIET, range(0, 1440, 100)),
    SIX: without(QUIET, range(0, 1440, 400)),
}


# Proven


@pytest.mark.parametrize(
    ("granularity", "level"),
    [(each, level) for each in list(Granularity)[:-1] for level in witness_levels(each)],
)
def test_examine_same_trades_prove_hole(granularity: Granularity, level: Granularity) -> None:
    trades = [Trade(0), Trade(1439, 101.0)]
    found = examine(day(trades, granularity), witnesses(trades, level))
    assert {proof.state for proof in found.proofs} == {NO_TRADES}
    assert (found.suspects, found.needs) == ([], None)


def test_examine_day_without_hole_needs_daily_candle_alone() -> None:
    only = Witnesses(WHOLE_DAY, {WHOLE_DAY: Answered(candles(BUSY, DAY), COMPARED)})
    found = examine(day(BUSY), only)
    assert (found.proofs, found.suspects, found.needs) == ((), [], None)


def test_examine_asks_for_next_level_only_when_needed() -> None:
    whole = witnesses(BUSY)
    known = Witnesses(WHOLE_DAY, {WHOLE_DAY: whole.levels[WHOLE_DAY]})
    asked = []
    while needs := examine(day(QUIET), known).needs:
        asked.append(needs)
        known = replace(known, levels={**known.levels, needs: whole.levels[needs]})
    assert asked == [SIX, HOUR, QUARTER, FIVE]
    assert examine(day(QUIET), replace(known, levels={})).needs == WHOLE_DAY


def test_examine_coarser_candle_with_less_proves_and_blames_nothing() -> None:
    found = examine(day(QUIET), witnesses(QUIET, others=LESS))
    assert said(found) == [(630, 660, NO_TRADES, "the 1h candles agree")]
    assert (found.suspects, found.blaming) == ([], frozenset())


def test_examine_silent_quarters_are_proven_by_their_hour() -> None:
    trades = [Trade(5), Trade(70), Trade(1430)]
    found = examine(day(trades), witnesses(trades, QUARTER))
    assert {proof.state for proof in found.proofs} == {NO_TRADES}
    assert {proof.witness for proof in found.proofs} == {
        f"the {level} candles agree" for level in ("15m", "1h", "6h", "1d")
    }


# In doubt


KINDS = {
    "every answer": ALL_LEVELS[:0],
    "two levels": ALL_LEVELS[:1],
    "up to 1h": ALL_LEVELS[:3],
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [1, 2, 3, 5, 10, 30, 60])
@pytest.mark.parametrize("seed", range(3))
def test_examine_never_certifies_lost_minutes(kind: str, length: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    traded = np.flatnonzero(random.random(1440) > 0.35)
    trades = [Trade(int(n), 100 + int(n) % 9, 1 + int(n) % 4) for n in traded]
    first = int(random.integers(60, 1300))
    lost = range(first, first + length)
    gone = without(trades, lost)
    found = examine(day(gone), witnesses(trades, others=dict.fromkeys(KINDS[kind], gone)))
    minutes = {trade.minute for trade in trades} - {trade.minute for trade in gone}
    proven = {n for a, b, state, _ in said(found) if state == NO_TRADES for n in range(a, b)}
    assert not minutes & proven
    assert all(any(a <= n < b for a, b in minutes_of(found.suspects)) for n in minutes)


@pytest.mark.parametrize(
    ("granularity", "lost"),
    [("1h", range(600, 660)), ("6h", range(360, 720)), ("5m", range(600, 605)), ("15m", range(15))],
)
def test_examine_one_lost_bucket_of_longer_series(granularity: str, lost: range) -> None:
    found = examine(day(without(BUSY, lost), granularity), witnesses(BUSY))
    assert [(a, b, state) for a, b, state, _ in said(found)] == [
        (lost.start, lost.stop, UNCONFIRMED)
    ]


def test_examine_daily_series_by_candles_of_six_hours() -> None:
    nothing = day([], "1d")
    assert said(examine(nothing, witnesses(BUSY, SIX))) == [
        (0, 1440, UNCONFIRMED, "the 6h candle shows more")
    ]
    assert said(examine(nothing, witnesses([], SIX)))[0][2] == UNCONFIRMED
    assert examine(day(BUSY, "1d"), Witnesses(SIX)).needs is None


def test_examine_same_day_and_witnesses_once() -> None:
    quiet, known = day(QUIET), witnesses(QUIET)
    found = examine(quiet, known)
    assert examine(quiet, known) is found
    lost = examine(day(without(QUIET, range(612, 613))), known)
    more = examine(quiet, replace(known, levels={}))
    assert len({found.proofs, lost.proofs, more.proofs}) == 3


def test_examine_lost_minute_beside_true_pause() -> None:
    found = examine(day(without(QUIET, range(612, 613))), witnesses(QUIET))
    assert [row[:3] for row in said(found)] == [
        (612, 613, UNCONFIRMED),
        (630, 660, NO_TRADES),
    ]


def test_examine_loss_masked_by_larger_stale_candle() -> None:
    stale = [
        trade._replace(volume=trade.volume + 0.95 * BUSY[600].volume)
        if trade.minute == 610
        else trade
        for trade in without(BUSY, range(600, 601))
    ]
    found = examine(day(stale), witnesses(BUSY))
    assert [row[:3] for row in said(found)] == [(600, 601, UNCONFIRMED)]


@pytest.mark.parametrize("value", ["first", "last"])
def test_examine_compares_open_and_close(value: str) -> None:
    changed = 0 if value == "first" else 1439
    theirs = [t._replace(price=100.05) if t.minute == changed else t for t in BUSY]
    assert examine(day(BUSY), witnesses(theirs)).more


def test_examine_finer_candles_that_lack_trades_of_a_coarser_one_prove_nothing() -> None:
    """All candles up to 1h lack five minutes; all from 1h on lack more, elsewhere."""
    lost, elsewhere = range(600, 605), range(365, 385)
    gone = without(QUIET, lost)
    others = {
        **dict.fromkeys((FIVE, QUARTER), gone),
        HOUR: without(gone, elsewhere),
        **dict.fromkeys((SIX, WHOLE_DAY), without(QUIET, elsewhere)),
    }
    found = examine(day(gone), witnesses(QUIET, others=others))
    assert said(found) == [
        (600, 605, UNCONFIRMED, "the 6h candle shows more than the 1h candles"),
        (630, 660, UNCONFIRMED, "the 6h candle shows more than the 1h candles"),
    ]


@pytest.mark.parametrize(("exact", "named"), [((WHOLE_DAY, HOUR, FIVE), True), ((), False)])
def test_examine_exact_level_that_shows_less_is_a_difference(
    exact: Collection[Granularity], named: bool
) -> None:
    altered = [t._replace(volume=t.volume * 1.05) if t.minute == 602 else t for t in BUSY]
    known = replace(witnesses(BUSY), exact=frozenset(exact))
    assert minutes_of(examine(day(altered), known).suspects) == ([(600, 605)] if named else [])
    assert weigh(day(altered), known).disagreement == (
        "coarser candles show less from 10:00 to 10:05" if named else ""
    )


def test_examine_price_beyond_counts_at_unreliable_level() -> None:
    theirs = [*QUIET, Trade(640, 200.0, 1e-8)]
    others = dict.fromkeys(ALL_LEVELS[:3], QUIET)
    found = examine(day(QUIET), witnesses(theirs, QUARTER, others))
    assert [row[2] for row in said(found)] == [UNCONFIRMED]


def test_examine_day_lost_at_every_level_is_not_proven() -> None:
    assert said(examine(day([]), witnesses([]))) == [
        (0, 1440, UNCONFIRMED, "no coarser candle agrees")
    ]


def test_examine_level_that_was_not_asked_for_proves_nothing() -> None:
    found = examine(day(QUIET), Witnesses(WHOLE_DAY))
    assert (found.needs, [row[2] for row in said(found)]) == (WHOLE_DAY, [UNCONFIRMED])


# Trades


def test_examine_trades_prove_part_of_hole() -> None:
    by_trades = [
        Proof(START + a * MINUTE, START + b * MINUTE, state, "trades", COMPARED)
        for a, b, state in ((635, 640, NO_TRADES), (650, 700, UNPROVABLE))
    ]
    found = examine(day(QUIET), replace(witnesses(BUSY), by_trades=by_trades))
    assert [row[:3] for row in said(found)] == [
        (630, 635, UNCONFIRMED),
        (635, 640, NO_TRADES),
        (640, 650, UNCONFIRMED),
        (650, 660, UNPROVABLE),
    ]


# Evidence


def test_weigh_single_witness() -> None:
    evidence = weigh(day(QUIET), witnesses(QUIET))
    assert (evidence.witness, evidence.proofs, evidence.agrees) == (
        "the 1d candles agree",
        (),
        True,
    )
    assert evidence.agreement == "1d 1/0/0, 6h 4/0/0, 1h 24/0/0, 15m 94/0/0, 5m 282/0/0"


def test_weigh_doubt_is_stored_with_its_holes() -> None:
    evidence = weigh(day(QUIET), witnesses(BUSY))
    assert (evidence.witness, evidence.agrees, evidence.is_proven) == ("", False, False)
    assert evidence.disagreement == (
        "coarser candles show more from 10:30 to 10:35, 10:35 to 10:40, 10:40 to 10:45 and 3 more"
    )


def test_weigh_counts_tries_that_prove_nothing() -> None:
    hole = Proof(START, START + DAY, UNPROVABLE, "no trades", COMPARED)
    known = replace(witnesses([]), by_trades=[hole])
    assert weigh(day([]), known, tries=2).tries == 3
    assert weigh(day(QUIET), witnesses(QUIET), tries=2).tries == 0


# Candles stored before


def test_withdrawn_candle_is_one_that_coarser_candles_lack() -> None:
    stored, newest = day(BUSY), day(QUIET)
    missing = missing_candles(stored, newest)
    assert withdrawn(newest, missing, witnesses(QUIET)).num_rows == 30
    assert withdrawn(newest, missing, witnesses(BUSY)).num_rows == 0
    assert withdrawn(newest, missing, witnesses(QUIET[1:])).num_rows == 30
    assert withdrawn(newest, missing, Witnesses(WHOLE_DAY)).num_rows == 0


def test_witness_levels() -> None:
    assert witness_levels(Granularity.ONE_MINUTE) == ALL_LEVELS[::-1]
    assert witness_levels(SIX) == [WHOLE_DAY]
    assert witness_levels(WHOLE_DAY) == [SIX]
