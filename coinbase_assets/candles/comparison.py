"""The comparison of candles with those of the lake. Pure: no I/O.

Tables have the columns of SCHEMA, with unique, ascending times. Times are microseconds since 1970.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from coinbase_assets.candles.table import COLUMNS, epoch_microseconds

VALUES = [column.name for column in COLUMNS if column.required]
"""The columns that are compared: prices and volume."""

TOLERANCE = 1e-9
"""The relative difference up to which values are equal: more than text of 10 digits loses."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Comparison:
    """How many candles are equal, and which are not.

    `files` and `lake` hold the candles that are in both and differ, at the same times in the same
    rows, and `differs` says which values: a row for each of VALUES, a column for each candle.
    `only_in_files` and `only_in_lake` are the times of the other candles, ascending.
    """

    equal: int
    files: pa.Table
    lake: pa.Table
    differs: np.ndarray
    only_in_files: np.ndarray
    only_in_lake: np.ndarray

    @property
    def is_equal(self) -> bool:
        return not (self.files.num_rows or len(self.only_in_files) or len(self.only_in_lake))

    @property
    def different(self) -> np.ndarray:
        """The times of the candles that differ, ascending."""
        return epoch_microseconds(self.files["time"])


@dataclass(frozen=True)
class BucketRange:
    """Adjoining buckets: they begin from `start` until `end`, which is not included."""

    start: datetime
    end: datetime
    buckets: int

    def __str__(self) -> str:
        return f"{self.start:%FT%R}..{self.end:%FT%R} ({self.buckets})"


def compare_candles(files: pa.Table, lake: pa.Table, tolerance: float = TOLERANCE) -> Comparison:
    """Compare candles of the same time range, bucket by bucket.

    Two values are equal up to a relative difference of `tolerance`.
    """
    ours, theirs = epoch_microseconds(lake["time"]), epoch_microseconds(files["time"])
    shared, in_files, in_lake = np.intersect1d(
        theirs, ours, assume_unique=True, return_indices=True
    )
    of_files, of_lake = files.take(pa.array(in_files)), lake.take(pa.array(in_lake))
    differs = differing_values(of_files, of_lake, tolerance)
    is_different = differs.any(axis=0)
    return Comparison(
        equal=len(shared) - int(is_different.sum()),
        files=of_files.filter(pa.array(is_different)),
        lake=of_lake.filter(pa.array(is_different)),
        differs=differs[:, is_different],
        only_in_files=np.setdiff1d(theirs, ours, assume_unique=True),
        only_in_lake=np.setdiff1d(ours, theirs, assume_unique=True),
    )


def differing_values(left: pa.Table, right: pa.Table, tolerance: float) -> np.ndarray:
    """Return which values differ: a row for each of VALUES, a column for each candle."""
    a, b = (np.stack([table[name].to_numpy() for name in VALUES]) for table in (left, right))
    return ~(np.abs(a - b) <= tolerance * np.maximum(np.abs(a), np.abs(b)))


def bucket_ranges(times: np.ndarray, step: timedelta) -> Sequence[BucketRange]:
    """Return the ranges of adjoining buckets that begin at these ascending times."""
    width = step // timedelta(microseconds=1)
    starts = np.flatnonzero(np.diff(times, prepend=times[:1] - 2 * width) != width)
    ends = np.append(starts, len(times))[1:]
    return [
        BucketRange(as_datetime(times[start]), as_datetime(times[end - 1]) + step, int(end - start))
        for start, end in zip(starts, ends, strict=True)
    ]


def as_datetime(microseconds: int) -> datetime:
    """Return the time in UTC."""
    return _EPOCH + timedelta(microseconds=int(microseconds))
