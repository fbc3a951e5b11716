"""Candles folded into coarser buckets, and how two folds of the same buckets relate.

Pure: no Dagster, no I/O.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from math import fsum

import numpy as np
import pyarrow as pa

from coinbase_assets.candles.calendar import DAY
from coinbase_assets.candles.table import epoch_microseconds

# Half a unit of a volume's last decimal, and a little more; beyond 10^5 a float64 is less exact.
_VOLUME_ERROR = 0.6e-8
_FLOAT_ERROR = 1e-13


class Relation(IntEnum):
    """What a coarser candle says of the candles in its bucket.

    NOTHING: neither exists. SAME: all values are equal. LESS: the coarser candle has lost trades
    itself. MORE: it shows trades or prices that the finer candles do not hold.
    """

    NOTHING = 0
    SAME = 1
    LESS = 2
    MORE = 3


@dataclass(frozen=True)
class Folded:
    """The candles of one UTC day in buckets of `length`; an item of each array is a bucket.

    A bucket without a candle has the count 0, the volume 0, and prices that are not numbers.
    """

    length: timedelta
    count: np.ndarray
    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    volume: np.ndarray

    @property
    def exists(self) -> np.ndarray:
        return self.count > 0


def fold(candles: pa.Table, start: datetime, length: timedelta) -> Folded:
    """Fold the ascending candles of the UTC day that begins at `start`.

    Volumes are added up exactly: a plain sum of a day's minutes errs by more than a unit of the
    last decimal.
    """
    buckets = buckets_of(candles, start, length)
    places, firsts, counts = np.unique(buckets, return_index=True, return_counts=True)
    ends = firsts + counts
    spans = zip(firsts.tolist(), ends.tolist(), strict=True)
    volumes = candles["volume"].to_numpy().tolist()
    number = DAY // length

    def spread(values: Sequence[float] | np.ndarray, absent: float = np.nan) -> np.ndarray:
        of_buckets = np.full(number, absent)
        of_buckets[places] = values
        return of_buckets

    values = {name: candles[name].to_numpy() for name in ("open", "high", "low", "close")}
    return Folded(
        length,
        np.bincount(buckets, minlength=number),
        spread(values["open"][firsts]),
        spread(np.maximum.reduceat(values["high"], firsts) if len(firsts) else []),
        spread(np.minimum.reduceat(values["low"], firsts) if len(firsts) else []),
        spread(values["close"][ends - 1]),
        spread([fsum(volumes[first:end]) for first, end in spans], 0.0),
    )


def buckets_of(candles: pa.Table, start: datetime, length: timedelta) -> np.ndarray:
    """Return for each candle of the day which bucket of that length it lies in."""
    since = epoch_microseconds(candles["time"]) - int(start.timestamp()) * 1_000_000
    return since // (length // timedelta(microseconds=1))


def relate(theirs: Folded, ours: Folded) -> np.ndarray:
    """Return for each bucket the Relation of the coarser candles `theirs` to `ours`."""
    allowed = np.maximum(_VOLUME_ERROR, _FLOAT_ERROR * theirs.volume)
    more = theirs.volume - ours.volume
    beyond = (theirs.high > ours.high) | (theirs.low < ours.low)
    same = abs(more) <= allowed
    for name in ("open", "high", "low", "close"):
        same &= getattr(theirs, name) == getattr(ours, name)
    return np.select(
        [
            ~theirs.exists & ~ours.exists,
            ~theirs.exists,
            ~ours.exists | beyond,
            same,
            more < -allowed,
        ],
        [Relation.NOTHING, Relation.LESS, Relation.MORE, Relation.SAME, Relation.LESS],
        Relation.MORE,
    )
