"""Holes: where they are, and which are longer than chance makes them."""

import math

import numpy as np
import pytest

from coinbase_assets.completeness.hole_statistics import runs, unusual_holes, unusual_length

MINUTES = 1440


def holes(*spans: tuple[int, int], buckets: int = MINUTES) -> np.ndarray:
    """Return `is_hole` for a day whose buckets have candles, except in these spans."""
    is_hole = np.zeros(buckets, bool)
    for first, end in spans:
        is_hole[first:end] = True
    return is_hole


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], []),
        ([7], [(0, 1)]),
        ([7, 7], [(0, 2)]),
        ([7, 7, 1, 7], [(0, 2), (2, 3), (3, 4)]),
        ([1, 2, 3], [(0, 1), (1, 2), (2, 3)]),
    ],
)
def test_runs_are_maximal_and_in_order(values: list[int], expected: list[tuple[int, int]]) -> None:
    assert list(runs(np.array(values))) == expected


@pytest.mark.parametrize(
    ("untraded", "buckets", "length"),
    [(1, 1000, 2), (10, 1000, 3), (100, 1000, 6), (500, 1000, 20)],
)
def test_unusual_length_expects_one_in_a_thousand(untraded: int, buckets: int, length: int) -> None:
    share = untraded / buckets
    assert buckets * share**length <= 0.001 * (1 + 1e-9) < buckets * share ** (length - 1)
    assert math.ceil(unusual_length(untraded, buckets) - 1e-9) == length


@pytest.mark.parametrize("buckets", [0, 1, 24])
def test_unusual_holes_none_if_nothing_traded(buckets: int) -> None:
    assert unusual_length(1440, 1440) == math.inf
    assert unusual_holes(np.ones(buckets, bool)) == []


@pytest.mark.parametrize("buckets", [1, 1440])
def test_unusual_length_one_if_all_traded(buckets: int) -> None:
    assert unusual_length(0, buckets) == 1
    assert unusual_holes(np.zeros(buckets, bool)) == []


@pytest.mark.parametrize("place", [0, 700, MINUTES - 20])
def test_unusual_holes_twenty_minutes_in_busy_market(place: int) -> None:
    assert unusual_holes(holes((place, place + 20), (300, 301))) == [(place, place + 20)]


def test_unusual_holes_ignore_single_minutes() -> None:
    assert unusual_holes(holes(*((n, n + 1) for n in range(0, MINUTES, 72)))) == []


@pytest.mark.parametrize("untraded", [0.03, 0.1, 0.35, 0.7])
def test_unusual_holes_rare_by_chance(untraded: float) -> None:
    random = np.random.default_rng(4)
    days = [random.random(MINUTES) < untraded for _ in range(300)]
    assert sum(map(len, map(unusual_holes, days))) <= 3
    longest = math.ceil(unusual_length(int(untraded * MINUTES), MINUTES)) + 40
    lost = [np.where(np.arange(MINUTES) < longest, True, day) for day in days]
    assert all(map(unusual_holes, lost))
