"""Holes: where they are, and which are longer than chance makes them."""

import math

import numpy as np
import pytest

from coinbase_assets.completeness.hole_statistics import runs, unusual_length

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


def test_unusual_length_infinite_if_nothing_traded() -> None:
    assert unusual_length(1440, 1440) == math.inf


@pytest.mark.parametrize("buckets", [1, 1440])
def test_unusual_length_one_if_all_traded(buckets: int) -> None:
    assert unusual_length(0, buckets) == 1
