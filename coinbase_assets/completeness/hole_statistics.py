"""Holes: runs of buckets without a candle, and which of them are longer than chance makes them.

Pure: no Dagster, no I/O.
"""

import math
from collections.abc import Iterator

import numpy as np

# A run is unusual if so few of its length are to be expected where trades come independently.
_EXPECTED = 0.001


def runs(values: np.ndarray) -> Iterator[tuple[int, int]]:
    """First and end index of the maximal runs of equal items, in order."""
    if not len(values):
        return
    starts = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
    yield from zip(starts.tolist(), [*starts[1:].tolist(), len(values)], strict=True)


def unusual_length(untraded: int, buckets: int) -> float:
    """From how many buckets on a hole is unusual, where `untraded` of `buckets` have no candle.

    If a bucket is untraded with the probability p, about `buckets * p**n` holes of n buckets are
    to be expected by chance.
    """
    if not 0 < untraded < buckets:
        return 1.0 if untraded == 0 else math.inf
    return math.log(_EXPECTED / buckets) / math.log(untraded / buckets)


def unusual_holes(is_hole: np.ndarray) -> list[tuple[int, int]]:
    """First and end index of the unusually long holes.

    `is_hole` tells of each bucket whether it has no candle.
    """
    most = unusual_length(int(is_hole.sum()), len(is_hole))
    return [(first, end) for first, end in runs(is_hole) if is_hole[first] and end - first >= most]
