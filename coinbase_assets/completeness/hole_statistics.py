"""Holes (runs of buckets without a candle): how long they get by chance alone.

Pure: no I/O.
"""

import math
from collections.abc import Iterator

import numpy as np

# A hole is unusual if chance alone makes fewer than this many holes of its length.
_EXPECTED = 0.001


def runs(values: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield the first index and the end index of the maximal runs of equal items, in order."""
    if not len(values):
        return
    starts = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
    yield from zip(starts.tolist(), [*starts[1:].tolist(), len(values)], strict=True)


def unusual_length(untraded: int, buckets: int) -> float:
    """Return the length, in buckets, from which a hole is unusual.

    `untraded` of the `buckets` have no candle, a share p. If each bucket is untraded by chance
    alone, about `buckets * p**n` holes of n buckets are expected.
    """
    if not 0 < untraded < buckets:
        return 1.0 if untraded == 0 else math.inf
    return math.log(_EXPECTED / buckets) / math.log(untraded / buckets)
