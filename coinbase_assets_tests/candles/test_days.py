"""Days: cut from answers over windows of any length, merged, and stored with what is known."""

from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from coinbase_assets.candles.calendar import DAY
from coinbase_assets.candles.day_cutting import cut_days
from coinbase_assets.candles.days import Day
from coinbase_assets.candles.evidence import Evidence
from coinbase_assets.candles.series import Series
from coinbase_assets.candles.table import SCHEMA, InvalidCandles, candles_digest
from coinbase_assets.candles.windows import Answer, Window
from coinbase_assets.table_metadata import table_fields
from coinbase_assets_tests.stand_in.tables import candle_table

SERIES = Series.parse("ETH-EUR:1h")
START = datetime(2024, 1, 1, tzinfo=UTC)


def at(hour: float) -> datetime:
    return START + timedelta(hours=hour)


LATE = at(1000)
AGREES = Evidence("1d", LATE)
DISAGREES = Evidence("1h", LATE, (range(3, 5), range(7, 8)), "differs from the hourly candles")


def candles(hours: Collection[int], price: float = 1.0) -> pa.Table:
    return candle_table([at(hour) for hour in hours], price)


def answer(
    first: int, end: int, as_of: datetime = LATE, untraded: Collection[int] = (), requests: int = 1
) -> Answer:
    """The answer to the window of these hours; only closed candles, as the client gives them."""
    hours = [h for h in range(first, end) if h not in untraded and at(h + 1) <= as_of]
    return Answer(SERIES, Window(at(first), at(end)), candles(hours), as_of, requests)


def cut(*answers: Answer, days: int = 1) -> list[Day]:
    return list(cut_days(answers, SERIES, [START + n * DAY for n in range(days)]))


def day(
    hours: Collection[int],
    fetched_at: datetime,
    through: datetime = START + DAY,
    price: float = 1,
    since: datetime = START,
    evidence: Evidence | None = None,
) -> Day:
    table = candles(hours, price)
    return Day(SERIES, START, table, fetched_at, fetched_at, since, through, 1, evidence)


def hours_of(day: Day) -> list[int]:
    return [int((time - START) / timedelta(hours=1)) for time in day.candles["time"].to_pylist()]


# Cutting


def test_days_are_cut_from_windows_across_them() -> None:
    days = cut(answer(0, 30), answer(30, 60, requests=3), answer(60, 72), days=3)
    assert [day.start for day in days] == [START, START + DAY, START + 2 * DAY]
    assert [hours_of(day) for day in days] == [[*range(n, n + 24)] for n in (0, 24, 48)]
    assert [day.answered_through for day in days] == [START + n * DAY for n in (1, 2, 3)]
    assert [day.requests for day in days] == [1, 4, 4]


def test_one_answer_serves_many_days() -> None:
    days = cut(answer(0, 72), days=3)
    assert [len(hours_of(day)) for day in days] == [24, 24, 24]


def test_a_day_is_there_as_soon_as_it_is_answered() -> None:
    read: list[int] = []

    def answers() -> Iterator[Answer]:
        for first in (0, 12, 24, 36):
            read.append(first)
            yield answer(first, first + 12)

    days = cut_days(answers(), SERIES, [START, START + DAY])
    assert hours_of(next(days)) == [*range(24)]
    assert read == [0, 12]


def test_a_day_is_as_old_as_its_oldest_answer() -> None:
    first, second = cut(
        answer(0, 20, at(900)), answer(20, 30, at(800)), answer(30, 48, at(700)), days=2
    )
    assert (first.fetched_at, second.fetched_at) == (at(800), at(700))


def test_an_old_answer_in_the_middle_bounds_what_is_known() -> None:
    (day,) = cut(answer(0, 8), answer(8, 16, at(10.5)), answer(16, 24))
    assert hours_of(day) == [*range(10), *range(16, 24)]
    assert (day.fetched_at, day.answered_through) == (at(10.5), at(10))
    assert day.empty_buckets == 0
    assert not day.settled


def test_an_answer_older_than_its_window_tells_nothing_of_it() -> None:
    (day,) = cut(answer(0, 8), answer(8, 16, at(3)), answer(16, 24))
    assert day.answered_through == at(8)


def test_an_old_answer_for_the_day_before_does_not_count() -> None:
    _, second = cut(answer(0, 24, at(10)), answer(24, 48), days=2)
    assert (second.fetched_at, second.answered_through) == (LATE, at(48))


def test_a_range_that_ends_at_the_exchanges_present() -> None:
    first, second, third = cut(answer(0, 26, at(26.2)), answer(26, 30, at(26.5)), days=3)
    assert (hours_of(first), first.answered_through) == ([*range(24)], at(24))
    assert (hours_of(second), second.answered_through) == ([24, 25], at(26))
    assert (hours_of(third), third.answered_through) == ([], at(48))
    assert third.candles.schema.equals(SCHEMA)
    assert [day.empty_buckets for day in (first, second, third)] == [0, 0, 0]
    assert [day.fetched_at for day in (first, second, third)] == [at(26.2), at(26.2), at(26.5)]


def test_windows_left_out_at_the_present_are_not_answered() -> None:
    (day,) = cut(answer(0, 8, at(9)), answer(8, 16, at(16)))
    assert day.answered_through == at(16)


# What is known of a day


def test_missing_buckets_are_closed_ones_without_a_candle() -> None:
    (whole,) = cut(answer(0, 24, untraded={0, 3, 4, 23}))
    (running,) = cut(answer(0, 24, at(10.5), untraded={0, 3, 4, 23}))
    assert (whole.empty_buckets, running.empty_buckets) == (4, 3)


def test_candles_beyond_what_is_answered_fill_no_gap() -> None:
    assert day([0, 1, 5, 6], at(4), through=at(4)).empty_buckets == 2


@pytest.mark.parametrize(("seconds", "settled"), [(-1, False), (0, True)])
def test_a_day_is_settled_24_hours_after_its_end(seconds: int, settled: bool) -> None:
    fetched_at = at(48) + timedelta(seconds=seconds)
    assert day([], fetched_at, evidence=AGREES).settled is settled


def test_a_day_that_is_not_answered_to_its_end_is_not_settled() -> None:
    days = [replace(day, evidence=AGREES) for day in cut(answer(0, 30), days=3)]
    assert [day.settled for day in days] == [True, False, False]


@pytest.mark.parametrize(
    ("evidence", "repeated", "settled"),
    [
        (None, False, False),
        (DISAGREES, False, False),
        (AGREES, False, True),
        (None, True, True),
        (DISAGREES, True, True),
    ],
)
def test_a_day_is_settled_if_coarser_candles_or_the_answer_before_agree(
    evidence: Evidence | None, repeated: bool, settled: bool
) -> None:
    assert replace(day([1], LATE), evidence=evidence, repeated=repeated).settled is settled


def test_a_hole_is_a_bucket_answered_without_a_candle() -> None:
    running = day([1, 2, 5, 6], at(6.5), through=at(6))
    assert running.is_hole.tolist() == [True, False, False, True, True, False]


@pytest.mark.parametrize("evidence", [None, AGREES, DISAGREES])
def test_evidence_is_stored_with_its_day(evidence: Evidence | None) -> None:
    before = day([1, 2], at(50), evidence=evidence)
    assert Day.from_table(SERIES, START, before.to_table("https://exchange")) == before


def test_stored_candles_that_are_known_to_be_absent_go() -> None:
    stored, asked = day([1, 2, 3], at(30)), day([3], at(50))
    assert hours_of(asked.merged_with(stored, disproved=candles([2]))) == [1, 3]
    assert hours_of(stored.merged_with(asked, disproved=candles([2]))) == [1, 2, 3]


def test_a_day_is_stored_with_what_is_known_of_it() -> None:
    table = day([1, 2, 5], at(6.5), through=at(6)).to_table("https://exchange")
    assert table_fields(table) == {
        "series": "ETH-EUR:1h",
        "source": "https://exchange",
        "version": str(int(at(6.5).timestamp())),
        "fetched_at": "2024-01-01T06:30:00Z",
        "refreshed_at": "2024-01-01T06:30:00Z",
        "answered_through": "2024-01-01T06:00:00Z",
        "settled": "false",
        "requests": "1",
        "missing_buckets": "3",
        "digest": candles_digest(candles([1, 2, 5])),
        "first_candle": "2024-01-01T01:00:00Z",
        "last_candle": "2024-01-01T05:00:00Z",
    }
    assert table.schema.equals(SCHEMA)


def test_an_empty_day_has_no_first_and_no_last_candle() -> None:
    table = day([], LATE, evidence=AGREES).to_table("")
    assert table.schema.equals(SCHEMA)
    assert {"first_candle", "last_candle"}.isdisjoint(table_fields(table))
    assert table_fields(table)["settled"] == "true"


@pytest.mark.parametrize("hours", [[], [0, 7, 23]])
def test_a_stored_day_comes_back_as_it_was(hours: list[int]) -> None:
    before = day(hours, at(30.25), through=at(23))
    after = Day.from_table(SERIES, START, before.to_table("https://exchange"))
    assert after == before
    assert after.candles.schema.equals(SCHEMA, check_metadata=True)


# Merging


@pytest.mark.parametrize("newer_is_stored", [False, True])
def test_the_newer_answer_wins_for_every_candle_it_holds(newer_is_stored: bool) -> None:
    older, newer = day([0, 1, 2], at(30), price=1), day([1, 3], at(40), price=2)
    merged = older.merged_with(newer) if newer_is_stored else newer.merged_with(older)
    assert hours_of(merged) == [0, 1, 2, 3]
    assert merged.candles["close"].to_pylist() == [1, 2, 1, 2]
    assert merged.candles["volume"].to_pylist() == [1, 2, 1, 2]
    assert merged.fetched_at == at(40)


@pytest.mark.parametrize("newer_is_stored", [False, True])
def test_an_incomplete_newer_answer_takes_nothing_away(newer_is_stored: bool) -> None:
    older, newer = day([*range(24)], at(30)), day([], at(40), through=at(8))
    merged = older.merged_with(newer) if newer_is_stored else newer.merged_with(older)
    assert hours_of(merged) == [*range(24)]
    assert (merged.fetched_at, merged.answered_through) == (at(40), at(24))


def test_of_two_equally_old_answers_the_stored_one_yields() -> None:
    stored, asked = day([0, 1], at(30), price=1), day([1, 2], at(30), price=2)
    assert asked.merged_with(stored).candles["close"].to_pylist() == [1, 2, 2]


def test_a_day_merged_with_itself_is_itself() -> None:
    once = day([0, 1], at(30))
    assert once.merged_with(once) == once


# Refreshing in part


@pytest.mark.parametrize("part_is_stored", [False, True])
def test_a_refresh_adds_what_came_since_the_last_answer(part_is_stored: bool) -> None:
    whole, part = day([*range(8)], at(8.1), at(8)), day([8, 9], at(10.1), at(10), since=at(8))
    merged = whole.merged_with(part) if part_is_stored else part.merged_with(whole)
    assert hours_of(merged) == [*range(10)]
    assert (merged.answered_from, merged.answered_through) == (START, at(10))
    assert (merged.fetched_at, merged.refreshed_at) == (at(8.1), at(10.1))


def test_a_refresh_makes_the_version_greater_but_does_not_settle_the_day() -> None:
    whole, part = day([*range(8)], at(8.1), at(8)), day([8], at(100), at(24), since=at(8))
    refreshed = table_fields(part.merged_with(whole).to_table("https://exchange"))
    assert int(refreshed["version"]) > int(table_fields(whole.to_table(""))["version"])
    assert refreshed["settled"] == "false"
    assert table_fields(day([8], at(100), evidence=AGREES).to_table(""))["settled"] == "true"


def test_a_whole_answer_after_refreshes_settles_the_day() -> None:
    refreshed = day([8], at(24.1), since=at(8)).merged_with(day([*range(8)], at(8.1), at(8)))
    assert not refreshed.settled
    assert day([*range(24)], at(48), evidence=AGREES).merged_with(refreshed).settled


def test_a_refreshed_day_comes_back_as_it_was() -> None:
    before = day([8], at(10), at(9), since=at(8)).merged_with(day([7], at(8), at(8)))
    assert Day.from_table(SERIES, START, before.to_table("https://exchange")) == before


def test_a_refresh_that_does_not_adjoin_what_is_stored_is_refused() -> None:
    stored, part = day([0], at(3), at(3)), day([9], at(10), at(10), since=at(8))
    with pytest.raises(InvalidCandles, match="answered from 2024-01-01T08:00:00Z"):
        part.merged_with(stored)


def test_a_refresh_without_a_stored_day_is_refused() -> None:
    with pytest.raises(InvalidCandles, match="answered only from 2024-01-01T08:00:00Z"):
        day([9], at(10), at(10), since=at(8)).to_table("https://exchange")


def test_a_day_cut_from_answers_that_begin_within_it_says_so() -> None:
    first, second = cut(answer(20, 48), days=2)
    assert (first.answered_from, second.answered_from) == (at(20), at(24))
    assert hours_of(first) == [20, 21, 22, 23]
