"""Days compared with coarser candles that are made of the same trades, or of others."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest

from coinbase_assets.candles.calendar import DAY
from coinbase_assets.candles.days import Day
from coinbase_assets.candles.evidence import AGAIN, Evidence
from coinbase_assets.candles.series import Granularity, Series
from coinbase_assets.candles.table import merge_candles
from coinbase_assets.completeness.reconciliation import (
    HOUR,
    Reference,
    confirmed_absent,
    is_doubtful,
    missing_candles,
    suspects,
    weigh,
)
from coinbase_assets_tests.stand_in.tables import candle_table

START = datetime(2024, 1, 1, tzinfo=UTC)
ASKED, COMPARED = START + 2 * DAY, START + 3 * DAY
QUARTER = timedelta(minutes=15)
ANY_HOUR = frozenset(range(24))


class Trade(NamedTuple):
    minute: int
    price: float = 100.0
    volume: float = 10.0


def candles(trades: Sequence[Trade], length: timedelta) -> pa.Table:
    """Return the candles of this length that the trades make."""
    buckets: dict[int, list[Trade]] = {}
    for trade in sorted(trades):
        buckets.setdefault(trade.minute // (length // timedelta(minutes=1)), []).append(trade)
    prices = [[trade.price for trade in inside] for inside in buckets.values()]
    return candle_table(
        [START + number * length for number in buckets],
        open=[first for first, *_ in prices],
        high=[*map(max, prices)],
        low=[*map(min, prices)],
        close=[last for *_, last in prices],
        volume=[sum(trade.volume for trade in inside) for inside in buckets.values()],
    )


def day(trades: Sequence[Trade], granularity: str = "15m") -> Day:
    series = Series.parse(f"ETH-EUR:{granularity}")
    table = candles(trades, series.granularity.delta)
    return Day(series, START, table, ASKED, ASKED, START, START + DAY, 1)


def reference(
    trades: Sequence[Trade], hours: Collection[int] = ANY_HOUR, daily: bool = True
) -> Reference:
    """Return the daily candle of the trades, unless left out, and their candles of these hours."""
    hourly = candles([trade for trade in trades if trade.minute // 60 in hours], HOUR)
    return Reference(candles(trades if daily else [], DAY), hourly, COMPARED)


def by_day(trades: Sequence[Trade]) -> Reference:
    return replace(reference(trades), hourly=None)


def every(minutes: int, **values: float) -> list[Trade]:
    return [Trade(minute, **values) for minute in range(0, 1440, minutes)]


def without(trades: Sequence[Trade], *spans: range) -> list[Trade]:
    return [trade for trade in trades if not any(trade.minute in span for span in spans)]


def hours_of(evidence: Evidence) -> list[int]:
    return [hour for hours in evidence.contradicted for hour in hours]


def asked_for(day: Day, reference: Reference, missing: pa.Table | None = None) -> list[str]:
    nothing = day.candles.slice(0, 0)
    windows = suspects(day, nothing if missing is None else missing, reference)
    return [f"{window.start:%d %H:%M}-{window.end:%d %H:%M}" for window in windows]


ALL = every(15)
HOUR_10 = range(600, 660)


# Agreement


@pytest.mark.parametrize("granularity", list(Granularity))
@pytest.mark.parametrize("trades", [every(1), every(7, price=3.3), [Trade(0), Trade(1439)], []])
def test_weigh_same_trades_agree_with_daily(granularity: Granularity, trades: list[Trade]) -> None:
    whole, of_day = day(trades, granularity), by_day(trades)
    assert not is_doubtful(whole, of_day)
    assert asked_for(whole, of_day) == []
    again = granularity == "1d"
    assert weigh(whole, of_day) == Evidence(AGAIN if again else "1d", COMPARED)


@pytest.mark.parametrize("granularity", ["1m", "5m", "15m"])
@pytest.mark.parametrize("trades", [every(1), every(7, price=3.3), [Trade(0), Trade(1439)]])
def test_weigh_same_trades_agree_with_hourly(granularity: str, trades: list[Trade]) -> None:
    whole = day(trades, granularity)
    assert asked_for(whole, reference(trades)) == []
    assert weigh(whole, reference(trades)) == Evidence("1h", COMPARED)


@pytest.mark.parametrize("surplus", [-0.07, 0.07])
def test_weigh_accepts_seven_percent_of_volume(surplus: float) -> None:
    trades = without(ALL, range(615, 630))
    theirs = [trade._replace(volume=10 * (1 + surplus)) for trade in trades]
    assert weigh(day(trades), reference(theirs)).agrees
    assert weigh(day(trades), by_day(theirs)).agrees


def test_suspects_hour_that_lacks_little() -> None:
    found, theirs = without(ALL, range(615, 630)), [*ALL]
    theirs[41] = Trade(615, volume=1)
    assert is_doubtful(day(found), by_day(theirs)) is False
    assert asked_for(day(found), reference(theirs)) == ["01 10:00-01 11:00"]
    assert weigh(day(found), reference(theirs)) == Evidence("1h", COMPARED)


def test_suspects_ignore_rounding() -> None:
    trades = without(every(1, volume=0.1), range(600, 660))
    theirs = [trade._replace(volume=0.1 * (1 + 1e-9)) for trade in trades]
    assert not is_doubtful(day(trades, "1m"), by_day(theirs))


# Doubt and contradiction


@pytest.mark.parametrize("price", [99.9, 100.1])
def test_weigh_prices_before_volume(price: float) -> None:
    theirs = [*without(ALL, HOUR_10), Trade(610, price, volume=1e-8)]
    found = day(without(ALL, HOUR_10))
    assert is_doubtful(found, by_day(theirs))
    assert weigh(found, reference(theirs)) == Evidence(
        "1h", COMPARED, (range(10, 11),), "differs from the hourly candles of 10:00"
    )


def test_weigh_price_that_only_the_day_reaches() -> None:
    found = day([*ALL[:-1], Trade(1430, 200.0)])
    evidence = weigh(found, reference(ALL))
    assert is_doubtful(found, by_day(ALL))
    assert (evidence.contradicted, evidence.agrees) == ((), False)


@pytest.mark.parametrize(
    ("lost", "hours"),
    [
        ([range(0, 60)], [range(0, 1)]),
        ([range(1380, 1440)], [range(23, 24)]),
        ([range(120, 240)], [range(2, 4)]),
        ([range(0, 15), range(1425, 1440)], [range(0, 1), range(23, 24)]),
        ([range(0, 1440)], [range(0, 24)]),
    ],
)
def test_weigh_contradicts_hours_with_missing_trades(lost: list[range], hours: list[range]) -> None:
    found = day(without(ALL, *lost))
    assert is_doubtful(found, by_day(ALL))
    evidence = weigh(found, reference(ALL))
    assert evidence.contradicted == tuple(hours)
    assert asked_for(found, reference(ALL)) == [
        f"{START + h.start * HOUR:%d %H:%M}-{START + h.stop * HOUR:%d %H:%M}" for h in hours
    ]


@pytest.mark.parametrize(("step", "doubtful"), [(1, True), (3, False)])
def test_doubtful_minutes_lost_on_end(step: int, doubtful: bool) -> None:
    trades = [Trade(n, volume=0.1 if 600 <= n < 660 else 10) for n in range(1440)]
    found = day(without(trades, range(600, 600 + 20 * step, step)), "1m")
    assert is_doubtful(found, by_day(trades)) is doubtful


def test_weigh_hour_without_holes_is_not_contradicted() -> None:
    theirs = [trade._replace(volume=20) if trade.minute in HOUR_10 else trade for trade in ALL]
    evidence = weigh(day(ALL), reference(theirs))
    assert evidence.contradicted == ()
    assert evidence.disagreement == "differs from the hourly candles of 10:00"
    assert asked_for(day(ALL), reference(theirs)) == []


@pytest.mark.parametrize(
    ("lost", "named"), [(3, "00:00, 01:00, 02:00"), (5, "00:00, 01:00, 02:00 and 2 more")]
)
def test_weigh_names_three_hours(lost: int, named: str) -> None:
    evidence = weigh(day(without(ALL, range(lost * 60))), reference(ALL))
    assert evidence.disagreement == f"differs from the hourly candles of {named}"


@pytest.mark.parametrize("granularity", ["15m", "1h", "6h"])
def test_weigh_daily_candle_contradicts_whole_day(granularity: str) -> None:
    found = day(without(ALL, range(0, 360)), granularity)
    assert weigh(found, by_day(ALL)) == Evidence(
        "1d", COMPARED, (range(24),), "differs from the daily candle"
    )
    assert asked_for(found, by_day(ALL)) == ["01 00:00-02 00:00"]


# Coarser candles that do not exist, or not all of them


def test_suspects_holes_without_coarser_candle() -> None:
    found, nothing = day(without(ALL, HOUR_10)), reference([])
    assert is_doubtful(found, nothing)
    assert asked_for(found, nothing) == ["01 00:00-02 00:00"]
    assert asked_for(found, replace(nothing, asked_again=True)) == []
    assert weigh(found, replace(nothing, asked_again=True)) == Evidence(AGAIN, COMPARED)


def test_suspects_none_if_nothing_missing() -> None:
    assert asked_for(day(ALL), reference([])) == []


def test_weigh_by_hours_without_daily_candle() -> None:
    lost = day(without(ALL, HOUR_10))
    assert hours_of(weigh(lost, reference(ALL, daily=False))) == [10]
    quiet = without(ALL, HOUR_10)
    assert weigh(lost, reference(quiet, daily=False)) == Evidence("1h", COMPARED)


def test_weigh_by_daily_candle_without_hours() -> None:
    evidence = weigh(day(without(ALL, range(600, 800))), reference(ALL, hours=()))
    assert (evidence.compared_with, hours_of(evidence)) == ("1d", [*range(24)])


def test_weigh_daily_trades_lie_in_hour_without_candle() -> None:
    theirs = [*without(ALL, HOUR_10), Trade(610, price=120)]
    found, hourly = day(without(ALL, HOUR_10)), ANY_HOUR - {10}
    assert hours_of(weigh(found, reference(theirs, hourly))) == [10]
    assert asked_for(found, reference(theirs, hourly)) == ["01 10:00-01 11:00"]


def test_weigh_daily_trades_beside_contradicted_hour() -> None:
    theirs = [*without(ALL, HOUR_10), Trade(610, price=120)]
    found = day(without(ALL, range(300, 330), HOUR_10))
    assert hours_of(weigh(found, reference(theirs, ANY_HOUR - {10}))) == [5, 10]


@pytest.mark.parametrize("price", [100, 120])
def test_weigh_quiet_hour_is_not_doubted(price: float) -> None:
    quiet = without(ALL, HOUR_10)
    theirs = [t._replace(price=price, volume=200) if t.minute < 60 else t for t in quiet]
    evidence = weigh(day(quiet), reference(theirs))
    assert (evidence.contradicted, evidence.agrees) == ((), False)


@pytest.mark.parametrize("more", [Trade(610, price=120, volume=1), Trade(610, volume=200)])
def test_weigh_daily_trades_lie_in_any_hole(more: Trade) -> None:
    quiet = without(ALL, range(300, 315), range(615, 630))
    of_day = replace(reference(quiet), daily=candles([*quiet, more], DAY))
    evidence = weigh(day(quiet), of_day)
    assert (hours_of(evidence), evidence.agrees) == ([5, 10], False)


# A day of one candle


def test_weigh_daily_candle_of_second_answer() -> None:
    nothing = day([], "1d")
    assert asked_for(nothing, by_day(ALL)) == ["01 00:00-02 00:00"]
    assert weigh(nothing, by_day(ALL)) == Evidence(
        AGAIN, COMPARED, (range(24),), "differs from the daily candle"
    )


def test_weigh_day_without_daily_candle() -> None:
    assert weigh(day([], "1d"), by_day([])) == Evidence(AGAIN, COMPARED)


# Stored candles that the newer answer lacks


def kept_and_dropped(found: Day, missing: pa.Table, coarser: Reference) -> tuple[int, int]:
    absent = confirmed_absent(found, missing, coarser).num_rows
    return missing.num_rows - absent, absent


SPURIOUS = Trade(615, volume=5)


@pytest.mark.parametrize("granularity", ["1m", "5m", "15m"])
@pytest.mark.parametrize("hours", [ANY_HOUR, ANY_HOUR - {10}, frozenset()])
def test_confirmed_absent_if_coarser_candles_lack_it(
    granularity: str, hours: frozenset[int]
) -> None:
    quiet = without(ALL, HOUR_10)
    found = day(quiet, granularity)
    assert kept_and_dropped(
        found, day([SPURIOUS], granularity).candles, reference(quiet, hours)
    ) == (
        0,
        1,
    )


@pytest.mark.parametrize("granularity", ["1m", "5m", "15m", "1h", "6h", "1d"])
@pytest.mark.parametrize("hours", [ANY_HOUR, ANY_HOUR - {10}, frozenset()])
@pytest.mark.parametrize("price", [100, 120])
def test_confirmed_absent_not_if_daily_candle_includes_it(
    granularity: str, hours: frozenset[int], price: float
) -> None:
    quiet = without(ALL, range(360, 720))
    theirs = [*quiet, Trade(615, price)]
    coarser = reference(theirs, hours)
    if Granularity(granularity).delta >= HOUR:
        coarser = by_day(theirs)
    assert kept_and_dropped(
        day(quiet, granularity), candles([Trade(615, price)], QUARTER), coarser
    ) == (
        1,
        0,
    )


def test_confirmed_absent_keeps_good_candle() -> None:
    quiet = without(ALL, range(615, 660))
    missing = candles([Trade(615, volume=1), Trade(630, volume=30)], QUARTER)
    for coarser in (reference, by_day):
        theirs = coarser([*quiet, Trade(615, volume=1)])
        assert confirmed_absent(day(quiet), missing, theirs)["volume"].to_pylist() == [30]


def test_confirmed_absent_none_without_coarser_candle() -> None:
    missing = candles([SPURIOUS], QUARTER)
    assert kept_and_dropped(day(ALL[:40]), missing, reference([])) == (1, 0)
    assert kept_and_dropped(day([]), missing, reference([])) == (1, 0)


def test_confirmed_absent_none_if_daily_price_is_beyond() -> None:
    quiet = without(ALL, HOUR_10)
    of_day = replace(reference(quiet), daily=candles([*quiet, Trade(610, 120)], DAY))
    assert kept_and_dropped(day(quiet), candles([SPURIOUS], QUARTER), of_day) == (1, 0)


def test_confirmed_absent_none_if_nothing_missing() -> None:
    assert confirmed_absent(day(ALL), day([]).candles, reference(ALL)).equals(day([]).candles)


def test_suspects_whole_hours_of_missing_candles() -> None:
    quiet = without(ALL, HOUR_10, range(0, 15))
    missing = candles([Trade(0), Trade(615)], QUARTER)
    assert asked_for(day(quiet), reference(quiet), missing) == [
        "01 00:00-01 01:00",
        "01 10:00-01 11:00",
    ]
    assert asked_for(day(quiet), by_day(quiet), missing) == ["01 00:00-02 00:00"]


def test_missing_candles_covered_but_not_answered() -> None:
    stored, asked = day(ALL), day(without(ALL, HOUR_10, range(0, 15), range(1425, 1440)))
    times = missing_candles(stored, asked)["time"].to_pylist()
    expected = [0, *range(600, 660, 15), 1425]
    assert times == [START + timedelta(minutes=minute) for minute in expected]
    part = replace(asked, answered_from=START + HOUR, answered_through=START + 10 * HOUR + QUARTER)
    assert missing_candles(stored, part)["time"].to_pylist() == times[1:2]
    assert missing_candles(asked, stored).num_rows == 0


# Any day


@pytest.mark.parametrize("seed", range(30))
def test_weigh_random_losses(seed: int) -> None:
    random = np.random.default_rng(seed)
    minutes = np.flatnonzero(random.random(1440) < random.choice([0.05, 0.3, 0.9])).tolist()
    values = zip(minutes, random.integers(90, 110, 1440), random.integers(1, 9, 1440), strict=False)
    trades = [Trade(minute, float(price), float(volume)) for minute, price, volume in values]
    lost = [trade for trade in trades if random.random() < 0.1]
    found = day([trade for trade in trades if trade not in lost], "1m")
    contradicted = set(hours_of(weigh(found, reference(trades))))
    assert contradicted <= {trade.minute // 60 for trade in lost}
    for hour in {trade.minute // 60 for trade in lost} - contradicted:
        inside = [trade for trade in trades if trade.minute // 60 == hour]
        kept = [trade for trade in inside if trade not in lost]
        assert {max(t.price for t in kept), min(t.price for t in kept)} == {
            max(t.price for t in inside),
            min(t.price for t in inside),
        }
        assert sum(t.volume for t in kept) >= 0.9 * sum(t.volume for t in inside) - 1e-9
    invented = set(range(1440)) - set(minutes)
    spurious = [Trade(minute, 100.0, 5.0) for minute in invented if random.random() < 0.05]
    missing = merge_candles(candles(lost, HOUR / 60), candles(spurious, HOUR / 60))
    hours = {hour for hour in range(24) if random.random() < 0.8}
    for coarser in (reference(trades), reference(trades, hours), by_day(trades)):
        absent = confirmed_absent(found, missing, coarser)["time"].to_pylist()
        assert {(time - START) // (HOUR / 60) for time in absent} <= invented


@pytest.mark.parametrize("seed", range(10))
def test_confirmed_absent_all_spurious_candles(seed: int) -> None:
    random = np.random.default_rng(seed)
    traded = random.random(1440) < 0.6
    trades = [Trade(minute) for minute in np.flatnonzero(traded).tolist()]
    spurious = candles([Trade(minute) for minute in np.flatnonzero(~traded).tolist()], HOUR / 60)
    for coarser in (reference(trades), by_day(trades)):
        assert confirmed_absent(day(trades, "1m"), spurious, coarser).equals(spurious)


# Evidence, as it is stored


@pytest.mark.parametrize(
    "evidence",
    [
        Evidence("1d", COMPARED),
        Evidence(AGAIN, COMPARED, (range(24),), "differs from the daily candle"),
        Evidence("1h", COMPARED, (range(0, 1), range(5, 7), range(23, 24)), "differs, and how"),
    ],
)
def test_evidence_from_fields_restores_evidence(evidence: Evidence) -> None:
    fields = evidence.to_fields()
    assert Evidence.from_fields(fields) == evidence
    assert Evidence.from_fields({name: text for name, text in fields.items() if text}) == evidence


@pytest.mark.parametrize("fields", [{}, {"compared_with": ""}])
def test_evidence_from_fields_none_without_comparison(fields: dict[str, str]) -> None:
    assert Evidence.from_fields(fields) is None
