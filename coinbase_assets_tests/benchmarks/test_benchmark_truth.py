"""What the benchmark of lost candles plants, and what it counts."""

from collections.abc import Mapping
from datetime import date

import pytest

from benchmarks.losses_found import LENGTHS, LOSSES_A_DAY, compare, plant, single_candles
from benchmarks.lossy_books import DAY, Book, Case
from benchmarks.lossy_days import Found
from coinbase_assets_tests.stand_in.losses import Kind
from coinbase_assets_tests.stand_in.markets import SyntheticMarket

BOOK = Book.of("a book", SyntheticMarket("BTC-EUR", untraded=0.1), date(2024, 1, 3), len(LENGTHS))
HOUR = BOOK.start + 3_600
LOST = {1: set(BOOK.minutes.select(BOOK.minutes.time >= HOUR).time[:4].tolist())}
TRUE = {int(row[0]): row[1:] for row in BOOK.minutes.rows()}
FIRST = min(LOST[1])


def found(rows: Mapping[int, list[float]], *disagreeing: str) -> Found:
    """What the lake says if it holds these candles, and calls all else untraded."""
    end = BOOK.start + BOOK.days * DAY
    words = {time: "traded" if time in rows else "no_trades" for time in range(BOOK.start, end, 60)}
    return Found(words, rows, disagreeing, [0, 0])


def test_planted_runs_have_their_length_on_a_day_each() -> None:
    lost = plant(BOOK)
    assert {length: len(times) for length, times in lost.items()} == {
        length: length * LOSSES_A_DAY for length in LENGTHS
    }
    for number, times in enumerate(lost.values()):
        assert {(time - BOOK.start) // DAY for time in times} == {number}
        assert times <= TRUE.keys()


def test_single_candles_are_days_apart() -> None:
    days = sorted((time - BOOK.start) // DAY for time in single_candles(Case(BOOK, "1h")))
    assert days == [1, 4]


def test_compare_counts_candles_that_are_back_and_wrong_certificates() -> None:
    rows = {time: row for time, row in TRUE.items() if time == FIRST or time not in LOST[1]}
    truth = compare(Case(BOOK, "1m", "d", "every answer", LOST), found(rows))
    assert (truth.named, truth.back, truth.wrong) == ({1: 0.25}, {1: 0.25}, 3)
    assert truth.proven == 1


def test_compare_true_values_only_are_back() -> None:
    rows = {**TRUE, FIRST: [2 * value for value in TRUE[FIRST]]}
    truth = compare(Case(BOOK, "1m", "d", "every answer", LOST), found(rows))
    assert (truth.named, truth.back, truth.wrong) == ({1: 1.0}, {1: 0.75}, 0)


@pytest.mark.parametrize(("day", "named"), [("2024-01-03", 1.0), ("2024-01-04", 0.75)])
def test_compare_altered_candle_is_named_by_its_day(day: str, named: float) -> None:
    kind: Kind = "altered"
    rows = {**TRUE, FIRST: [2 * value for value in TRUE[FIRST]]}
    truth = compare(Case(BOOK, "1m", "d", kind, LOST), found(rows, day))
    assert truth.named == {1: named}


def test_compare_unproven_holes_are_counted() -> None:
    said = found(TRUE)
    words = {
        time: "unconfirmed" if word == "no_trades" else word for time, word in said.states.items()
    }
    truth = compare(Case(BOOK, "1m"), Found(words, TRUE, (), [0, 0]))
    assert (truth.proven, truth.wrong) == (0, 0)
