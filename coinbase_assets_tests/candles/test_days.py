"""Days: what is known about them, how they are merged and stored."""

from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from coinbase_assets.candles.calendar import DAY
from coinbase_assets.candles.days import Day, format_numbers, parse_numbers
from coinbase_assets.candles.evidence import Evidence
from coinbase_assets.candles.proofs import UNCONFIRMED, Proof
from coinbase_assets.candles.series import Series
from coinbase_assets.candles.table import SCHEMA, InvalidCandles, candles_digest
from coinbase_assets.table_metadata import table_fields
from coinbase_assets_tests.stand_in.tables import candle_table

SERIES = Series.parse("ETH-EUR:1h")
START = datetime(2024, 1, 1, tzinfo=UTC)


def at(hour: float) -> datetime:
    return START + timedelta(hours=hour)


LATE = at(1000)
AGREES = Evidence(LATE, "the 1d candles agree")
DISAGREES = Evidence(LATE, "the 1h candles agree", disagreement="coarser candles show more")
DOUBTS = Evidence(LATE, proofs=(Proof(at(3), at(5), UNCONFIRMED, "nobody", LATE),))


def candles(hours: Collection[int], price: float = 1.0) -> pa.Table:
    return candle_table([at(hour) for hour in hours], price)


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


# Settled days and empty buckets


def test_day_empty_buckets_ignore_unanswered_candles() -> None:
    assert day([0, 1, 5, 6], at(4), through=at(4)).empty_buckets == 2


@pytest.mark.parametrize(("seconds", "settled"), [(-1, False), (0, True)])
def test_day_settled_24_hours_after_its_end(seconds: int, settled: bool) -> None:
    fetched_at = at(48) + timedelta(seconds=seconds)
    assert day([], fetched_at, evidence=AGREES).settled is settled


@pytest.mark.parametrize(
    ("evidence", "repeated", "settled"),
    [
        (None, False, False),
        (DISAGREES, False, False),
        (AGREES, False, True),
        (DISAGREES, True, True),
        (None, True, False),
        (DOUBTS, False, False),
        (DOUBTS, True, False),
        (replace(AGREES, compared_at=at(47)), True, False),
    ],
)
def test_day_settled_by_coarser_candles_or_repetition(
    evidence: Evidence | None, repeated: bool, settled: bool
) -> None:
    assert replace(day([1], LATE), evidence=evidence, repeated=repeated).settled is settled


def test_day_is_hole_marks_empty_buckets() -> None:
    running = day([1, 2, 5, 6], at(6.5), through=at(6))
    assert running.is_hole.tolist() == [True, False, False, True, True, False]


@pytest.mark.parametrize("evidence", [None, AGREES, DISAGREES])
def test_day_stores_evidence(evidence: Evidence | None) -> None:
    before = day([1, 2], at(50), evidence=evidence)
    assert Day.from_table(SERIES, START, before.to_table("https://exchange")) == before


def test_day_merge_drops_disproved_candles() -> None:
    stored, asked = day([1, 2, 3], at(30)), day([3], at(50))
    assert hours_of(asked.merged_with(stored, disproved=candles([2]))) == [1, 3]
    assert hours_of(stored.merged_with(asked, disproved=candles([2]))) == [1, 2, 3]


def test_day_to_table_fields() -> None:
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


def test_day_to_table_empty_day_has_no_first_candle() -> None:
    table = day([], LATE, evidence=AGREES).to_table("")
    assert table.schema.equals(SCHEMA)
    assert {"first_candle", "last_candle"}.isdisjoint(table_fields(table))
    assert table_fields(table)["settled"] == "true"


@pytest.mark.parametrize("hours", [[], [0, 7, 23]])
def test_day_from_table_restores_day(hours: list[int]) -> None:
    before = day(hours, at(30.25), through=at(23))
    after = Day.from_table(SERIES, START, before.to_table("https://exchange"))
    assert after == before
    assert after.candles.schema.equals(SCHEMA, check_metadata=True)


@pytest.mark.parametrize(
    ("numbers", "text"),
    [([], ""), ([7], "7"), ([3, 1, 2], "1-3"), ([0, 2, 3, 9], "0,2-3,9"), ([*range(24)], "0-23")],
)
def test_numbers_are_stored_as_ranges(numbers: list[int], text: str) -> None:
    assert format_numbers(numbers) == text
    assert parse_numbers(text) == frozenset(numbers)


def test_numbers_of_a_day_take_4_kb_at_most() -> None:
    assert len(format_numbers(range(0, 1440, 2))) < 4_000
    assert parse_numbers("x,1-,-3,4,99999,5-6") == {4, 5, 6}


def test_day_remembers_candles_made_of_trades() -> None:
    made = frozenset({int(at(1).timestamp()), int(at(5).timestamp())})
    before = replace(day([1, 2, 5], at(50)), from_trades=made)
    table = before.to_table("")
    assert table_fields(table)["from_trades"] == "1,5"
    assert Day.from_table(SERIES, START, table).from_trades == made
    merged = day([1, 2], at(60)).merged_with(before)
    assert merged.from_trades == {int(at(5).timestamp())}


# Merging


@pytest.mark.parametrize("newer_is_stored", [False, True])
def test_day_merge_newer_answer_wins(newer_is_stored: bool) -> None:
    older, newer = day([0, 1, 2], at(30), price=1), day([1, 3], at(30.9), price=2)
    merged = older.merged_with(newer) if newer_is_stored else newer.merged_with(older)
    assert hours_of(merged) == [0, 1, 2, 3]
    assert merged.candles["close"].to_pylist() == [1, 2, 1, 2]
    assert merged.candles["volume"].to_pylist() == [1, 2, 1, 2]
    assert merged.fetched_at == at(30.9)


def test_day_merge_stored_time_ahead_of_answer_never_wins() -> None:
    wrong, honest = day([0, 1], at(72), price=1), day([0, 1, 2], at(49), price=2)
    merged = honest.merged_with(wrong, disproved=candles([1]))
    assert merged.candles["close"].to_pylist() == [2, 2, 2]
    assert (merged.fetched_at, merged.refreshed_at) == (at(49), at(49))
    versions = [int(table_fields(day.to_table(""))["version"]) for day in (wrong, merged)]
    assert versions[0] < versions[1]


@pytest.mark.parametrize("newer_is_stored", [False, True])
def test_day_merge_incomplete_newer_answer_drops_nothing(newer_is_stored: bool) -> None:
    older, newer = day([*range(24)], at(30)), day([], at(30.9), through=at(8))
    merged = older.merged_with(newer) if newer_is_stored else newer.merged_with(older)
    assert hours_of(merged) == [*range(24)]
    assert (merged.fetched_at, merged.answered_through) == (at(30.9), at(24))


def test_day_merge_equally_old_stored_answer_yields() -> None:
    stored, asked = day([0, 1], at(30), price=1), day([1, 2], at(30), price=2)
    assert asked.merged_with(stored).candles["close"].to_pylist() == [1, 2, 2]


def test_day_merge_with_itself_is_itself() -> None:
    once = day([0, 1], at(30))
    assert once.merged_with(once) == once


# Refreshing in part


@pytest.mark.parametrize("part_is_stored", [False, True])
def test_day_merge_refresh_appends(part_is_stored: bool) -> None:
    whole, part = day([*range(8)], at(8.1), at(8)), day([8], at(9.05), at(9), since=at(8))
    merged = whole.merged_with(part) if part_is_stored else part.merged_with(whole)
    assert hours_of(merged) == [*range(9)]
    assert (merged.answered_from, merged.answered_through) == (START, at(9))
    assert (merged.fetched_at, merged.refreshed_at) == (at(8.1), at(9.05))


def test_day_merge_refresh_raises_version_but_does_not_settle() -> None:
    whole, part = day([*range(8)], at(8.1), at(8)), day([8], at(100), at(24), since=at(8))
    refreshed = table_fields(part.merged_with(whole).to_table("https://exchange"))
    assert int(refreshed["version"]) > int(table_fields(whole.to_table(""))["version"])
    assert refreshed["settled"] == "false"
    assert table_fields(day([8], at(100), evidence=AGREES).to_table(""))["settled"] == "true"


def test_day_merge_whole_answer_after_refreshes_settles() -> None:
    refreshed = day([8], at(24.1), since=at(8)).merged_with(day([*range(8)], at(8.1), at(8)))
    assert not refreshed.settled
    assert day([*range(24)], at(48), evidence=AGREES).merged_with(refreshed).settled


def test_day_from_table_restores_refreshed_day() -> None:
    before = day([8], at(10), at(9), since=at(8)).merged_with(day([7], at(8), at(8)))
    assert Day.from_table(SERIES, START, before.to_table("https://exchange")) == before


def test_day_merge_refuses_gap_between_answers() -> None:
    stored, part = day([0], at(3), at(3)), day([9], at(10), at(10), since=at(8))
    with pytest.raises(InvalidCandles, match="answered from 2024-01-01T08:00:00Z"):
        part.merged_with(stored)


def test_day_to_table_refuses_refresh_without_stored_day() -> None:
    with pytest.raises(InvalidCandles, match="answered only from 2024-01-01T08:00:00Z"):
        day([9], at(10), at(10), since=at(8)).to_table("https://exchange")
