"""Days, cut from answers over windows of any length."""

from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import datetime

from coinbase_assets.candles.calendar import DAY
from coinbase_assets.candles.day_cutting import cut_days
from coinbase_assets.candles.days import Day
from coinbase_assets.candles.table import SCHEMA
from coinbase_assets.candles.windows import Answer, Window
from coinbase_assets_tests.candles.test_days import (
    AGREES,
    LATE,
    SERIES,
    START,
    at,
    candles,
    hours_of,
)


def answer(
    first: int, end: int, as_of: datetime = LATE, untraded: Collection[int] = (), requests: int = 1
) -> Answer:
    """Return the answer for these hours, with closed candles only, like the client's answers."""
    hours = [h for h in range(first, end) if h not in untraded and at(h + 1) <= as_of]
    return Answer(SERIES, Window(at(first), at(end)), candles(hours), as_of, requests)


def cut(*answers: Answer, days: int = 1) -> list[Day]:
    return list(cut_days(answers, SERIES, [START + n * DAY for n in range(days)]))


def test_cut_days_from_windows_across_days() -> None:
    days = cut(answer(0, 30), answer(30, 60, requests=3), answer(60, 72), days=3)
    assert [day.start for day in days] == [START, START + DAY, START + 2 * DAY]
    assert [hours_of(day) for day in days] == [[*range(n, n + 24)] for n in (0, 24, 48)]
    assert [day.answered_through for day in days] == [START + n * DAY for n in (1, 2, 3)]
    assert [day.requests for day in days] == [1, 4, 4]


def test_cut_days_many_days_from_one_answer() -> None:
    days = cut(answer(0, 72), days=3)
    assert [len(hours_of(day)) for day in days] == [24, 24, 24]


def test_cut_days_yields_each_day_once_answered() -> None:
    read: list[int] = []

    def answers() -> Iterator[Answer]:
        for first in (0, 12, 24, 36):
            read.append(first)
            yield answer(first, first + 12)

    days = cut_days(answers(), SERIES, [START, START + DAY])
    assert hours_of(next(days)) == [*range(24)]
    assert read == [0, 12]


def test_cut_days_fetched_at_is_oldest_answer() -> None:
    first, second = cut(
        answer(0, 20, at(900)), answer(20, 30, at(800)), answer(30, 48, at(700)), days=2
    )
    assert (first.fetched_at, second.fetched_at) == (at(800), at(700))


def test_cut_days_ends_at_old_answer() -> None:
    (day,) = cut(answer(0, 8), answer(8, 16, at(10.5)), answer(16, 24))
    assert hours_of(day) == [*range(10), *range(16, 24)]
    assert (day.fetched_at, day.answered_through) == (at(10.5), at(10))
    assert day.empty_buckets == 0
    assert not day.settled


def test_cut_days_ignores_answer_older_than_window() -> None:
    (day,) = cut(answer(0, 8), answer(8, 16, at(3)), answer(16, 24))
    assert day.answered_through == at(8)


def test_cut_days_ignores_old_answer_of_day_before() -> None:
    _, second = cut(answer(0, 24, at(10)), answer(24, 48), days=2)
    assert (second.fetched_at, second.answered_through) == (LATE, at(48))


def test_cut_days_up_to_the_present() -> None:
    first, second, third = cut(answer(0, 26, at(26.2)), answer(26, 30, at(26.5)), days=3)
    assert (hours_of(first), first.answered_through) == ([*range(24)], at(24))
    assert (hours_of(second), second.answered_through) == ([24, 25], at(26))
    assert (hours_of(third), third.answered_through) == ([], at(48))
    assert third.candles.schema.equals(SCHEMA)
    assert [day.empty_buckets for day in (first, second, third)] == [0, 0, 0]
    assert [day.fetched_at for day in (first, second, third)] == [at(26.2), at(26.2), at(26.5)]


def test_cut_days_windows_left_out_are_unanswered() -> None:
    (day,) = cut(answer(0, 8, at(9)), answer(8, 16, at(16)))
    assert day.answered_through == at(16)


def test_cut_days_answers_that_begin_within_a_day() -> None:
    first, second = cut(answer(20, 48), days=2)
    assert (first.answered_from, second.answered_from) == (at(20), at(24))
    assert hours_of(first) == [20, 21, 22, 23]


def test_cut_days_empty_buckets_are_closed() -> None:
    (whole,) = cut(answer(0, 24, untraded={0, 3, 4, 23}))
    (running,) = cut(answer(0, 24, at(10.5), untraded={0, 3, 4, 23}))
    assert (whole.empty_buckets, running.empty_buckets) == (4, 3)


def test_cut_days_unsettled_until_answered_to_its_end() -> None:
    days = [replace(day, evidence=AGREES) for day in cut(answer(0, 30), days=3)]
    assert [day.settled for day in days] == [True, False, False]
