"""Halts of the whole exchange: nothing traded in any product at once. Pure: no Dagster, no I/O."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coinbase_assets.candles.series import Series
from coinbase_assets.candles.table import SCHEMA
from coinbase_assets.completeness.hole_statistics import unusual_length
from coinbase_assets.completeness.ledger import State, count_buckets

# A silence that a few products share is no halt of the exchange if it is shorter.
SHORTEST = timedelta(minutes=15)
_FEWEST_BOOKS = 2

_TIME = SCHEMA.field("time").type
HALT_SCHEMA = pa.schema(
    [
        pa.field("start", _TIME, nullable=False),
        pa.field("end", _TIME, nullable=False),
        pa.field("series", pa.string(), nullable=False),
    ]
)
# In these a series was traded, or may have been.
_BUSY = [State.TRADED.value, State.UNCONFIRMED.value]

# From, and to before, in microseconds since 1970.
_Span = tuple[int, int]


@dataclass(frozen=True)
class _Ledger:
    """The spans in which a series was busy, two columns, and its unusually long holes."""

    series: Series
    busy: np.ndarray
    holes: Sequence[_Span]

    @classmethod
    def of(cls, series: Series, ledger: pa.Table) -> "_Ledger":
        counts = count_buckets(ledger)
        untraded = counts[State.NO_TRADES]
        most = unusual_length(untraded, untraded + counts[State.TRADED])
        is_hole = pc.and_(
            pc.equal(ledger["state"], State.NO_TRADES.value),
            pc.greater_equal(ledger["buckets"], most),
        )
        busy = _spans(ledger.filter(pc.is_in(ledger["state"], pa.array(_BUSY))))
        return cls(series, busy, [(a, b) for a, b in _spans(ledger.filter(is_hole)).tolist()])

    def busy_in(self, span: _Span) -> Iterator[_Span]:
        """Where it was busy in the span; of its buckets, only those that lie in it wholly tell."""
        overlapping = (self.busy[:, 0] < span[1]) & (self.busy[:, 1] > span[0])
        for start, end in self.busy[overlapping].tolist():
            first, last = self._buckets_in((max(start, span[0]), min(end, span[1])))
            if first < last:
                yield first, last

    def shows(self, span: _Span) -> bool:
        """Whether all its buckets in the span, if there are any, lie in one of the holes."""
        first, last = self._buckets_in(span)
        return first < last and any(start <= first and last <= end for start, end in self.holes)

    def _buckets_in(self, span: _Span) -> _Span:
        """The start of the first bucket that lies in the span wholly, and the end of the last."""
        step = self.series.granularity.delta // timedelta(microseconds=1)
        return -(-span[0] // step) * step, span[1] // step * step


def shows_halts(series: Collection[Series]) -> bool:
    """Whether there are enough order books among them to tell a halt from a silence of one."""
    return len({one.order_book for one in series}) >= _FEWEST_BOOKS


def find_halts(ledgers: Mapping[Series, pa.Table]) -> pa.Table:
    """The halts in a month, from the ledgers of all series: HALT_SCHEMA, ascending.

    A halt is an unusually long hole, confirmed, in which no series was traded, or may have been,
    and which at least two order books show; `series` are those that show it. Its ends are those of
    the finest granularity.
    """
    finest_first = sorted(ledgers, key=lambda series: series.granularity.seconds)
    read = [_Ledger.of(series, ledgers[series]) for series in finest_first]
    halts: dict[_Span, list[Series]] = {}
    for span in (span for ledger in read for hole in ledger.holes for span in _quiet(hole, read)):
        shown_by = sorted(ledger.series for ledger in read if ledger.shows(span))
        known = any(start < span[1] and span[0] < end for start, end in halts)
        if shows_halts(shown_by) and not known:
            halts[span] = shown_by
    spans = sorted(halts)
    starts, ends = (pa.array([span[n] for span in spans], pa.int64()).cast(_TIME) for n in (0, 1))
    names = [", ".join(map(str, halts[span])) for span in spans]
    return pa.table([starts, ends, pa.array(names, pa.string())], HALT_SCHEMA)


def _quiet(hole: _Span, ledgers: Sequence[_Ledger]) -> Iterator[_Span]:
    """The parts of the hole, long enough for a halt, in which nobody was busy."""
    start = hole[0]
    for busy in [
        *sorted(busy for one in ledgers for busy in one.busy_in(hole)),
        (hole[1], hole[1]),
    ]:
        if busy[0] - start >= SHORTEST // timedelta(microseconds=1):
            yield start, busy[0]
        start = max(start, busy[1])


def _spans(ledger: pa.Table) -> np.ndarray:
    return np.stack([ledger[name].cast(pa.int64()).to_numpy() for name in ("start", "end")], axis=1)
