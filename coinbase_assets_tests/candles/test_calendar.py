"""Days and months, and their partition keys."""

from datetime import UTC, datetime, timedelta

import pytest

from coinbase_assets.candles.calendar import (
    adjoining,
    as_ranges,
    day_start,
    following_months,
    format_time,
    month_of,
    month_range,
    months_between,
)


def test_format_time_to_the_second() -> None:
    assert format_time(datetime(2024, 1, 31, 12, 0, 5, 999, UTC)) == "2024-01-31T12:00:05Z"


@pytest.mark.parametrize(
    ("month", "days"), [("2023-02", 28), ("2024-02", 29), ("2024-04", 30), ("2024-12", 31)]
)
def test_month_range_is_the_whole_month(month: str, days: int) -> None:
    start, end = month_range(month)
    assert start == day_start(f"{month}-01")
    assert (end - start).days == days
    assert month_of(f"{end - timedelta(days=1):%F}") == month


@pytest.mark.parametrize(
    ("first", "end", "months"),
    [
        ("2024-01-01", "2024-01-01", []),
        ("2024-01-02", "2024-01-01", []),
        ("2024-01-01", "2024-02-01", ["2024-01"]),
        ("2024-01-31", "2024-02-02", ["2024-01", "2024-02"]),
        ("2023-11-30", "2024-02-01", ["2023-11", "2023-12", "2024-01"]),
    ],
)
def test_months_between_half_open(first: str, end: str, months: list[str]) -> None:
    assert months_between(day_start(first), day_start(end)) == months


def test_following_months_cross_years() -> None:
    assert following_months("2023-11", 3) == ["2023-11", "2023-12", "2024-01"]
    assert following_months("2023-11", 0) == []


@pytest.mark.parametrize(
    ("keys", "lists"),
    [
        ([], []),
        (["2024-02-28", "2024-02-29", "2024-03-01"], [[28, 29], [1]]),
        (["2023-12-31", "2024-01-01", "2024-01-03"], [[31, 1], [3]]),
        (["2023-11", "2023-12", "2024-02"], [[11, 12], [2]]),
    ],
)
def test_adjoining_splits_at_gaps_and_length(keys: list[str], lists: list[list[int]]) -> None:
    assert [[int(key[-2:]) for key in part] for part in adjoining(keys, 2)] == lists


def test_as_ranges_joins_adjoining_keys() -> None:
    days = ["2023-12-31", "2024-01-01", "2024-01-03"]
    assert as_ranges(days) == "2023-12-31..2024-01-01, 2024-01-03"
    assert as_ranges(["2023-12", "2024-01"]) == "2023-12..2024-01"
    assert as_ranges([]) == ""
