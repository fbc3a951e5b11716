"""Halts of the exchange: times in which no product was traded. Pure: no I/O."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coinbase_assets.candles.series import Series
from coinbase_assets.candles.table import TIME_TYPE, epoch_microseconds
from coinbase_assets.completeness.hole_statistics import unusual_length
from coinbase_assets.completeness.ledger import State, count_buckets

# A shorter silence of several products is not taken for a halt.
SHORTEST = timedelta(minutes=15)
_FEWEST_BOOKS = 2

HALT_SCHEMA = pa.schema(
    [
        pa.field("start", TIME_TYPE, nullable=False),
        pa.field("end", TIME_TYPE, nullable=False),
        pa.field("series", pa.string(), nullable=False),
    ]
)
# The states of buckets in which a series was traded, or may have been.
_BUSY = [State.TRADED.value, State.UNCONFIRMED.value]

# A time range, from and until, in microseconds since 1970.
_Span = tuple[int, int]


@dataclass(frozen=True)
class _Ledger:
    """A series' `busy` spans, as an array of two columns, and its unusually long holes."""

    series: Series
    busy: np.ndarray
    holes: Sequence[_Span]

    @classmethod
    def of(cls, series: Series, ledger: pa.Table) -> "_Ledger":
        counts = count_buckets(ledger)
        untraded = counts[State.NO_TRADES]
        shortest = unusual_length(untraded, untraded + counts[State.TRADED])
        is_hole = pc.and_(
            pc.equal(ledger["state"], State.NO_TRADES.value),
            pc.greater_equal(ledger["buckets"], shortest),
        )
        busy = _spans(ledger.filter(pc.is_in(ledger["state"], pa.array(_BUSY))))
        return cls(series, busy, [(a, b) for a, b in _spans(ledger.filter(is_hole)).tolist()])

    def busy_in(self, span: _Span) -> Iterator[_Span]:
        """Yield where the series was busy in the span, in buckets that lie wholly in the span."""
        overlapping = (self.busy[:, 0] < span[1]) & (self.busy[:, 1] > span[0])
        for start, end in self.busy[overlapping].tolist():
            first, last = self._buckets_in((max(start, span[0]), min(end, span[1])))
            if first < last:
                yield first, last

    def shows(self, span: _Span) -> bool:
        """Whether the series has buckets in the span, and a single hole holds all of them."""
        first, last = self._buckets_in(span)
        return first < last and any(start <= first and last <= end for start, end in self.holes)

    def _buckets_in(self, span: _Span) -> _Span:
        """Return the start of the first bucket wholly in the span, and the end of the last."""
        step = self.series.granularity.delta // timedelta(microseconds=1)
        return -(-span[0] // step) * step, span[1] // step * step


def can_tell_halts(series: Collection[Series]) -> bool:
    """Return whether the series have enough order books to distinguish halts from quiet books."""
    return len({each.order_book for each in series}) >= _FEWEST_BOOKS


def find_halts(ledgers: Mapping[Series, pa.Table]) -> pa.Table:
    """Return the halts in a month, from the ledgers of all series.

    Columns as in HALT_SCHEMA, ascending. A halt is an unusually long, confirmed hole of at least
    two order books, in which no series can have been traded. The column `series`
    names the series with this hole. Start and end are as exact as the finest granularity.
    """
    finest_first = sorted(ledgers, key=lambda series: series.granularity.seconds)
    read = [_Ledger.of(series, ledgers[series]) for series in finest_first]
    halts: dict[_Span, list[Series]] = {}
    for span in (span for ledger in read for hole in ledger.holes for span in _quiet(hole, read)):
        shown_by = sorted(ledger.series for ledger in read if ledger.shows(span))
        is_known = any(start < span[1] and span[0] < end for start, end in halts)
        if can_tell_halts(shown_by) and not is_known:
            halts[span] = shown_by
    return _halt_table(halts)


def _halt_table(halts: Mapping[_Span, Sequence[Series]]) -> pa.Table:
    spans = sorted(halts)
    starts, ends = (
        pa.array([span[n] for span in spans], pa.int64()).cast(TIME_TYPE) for n in (0, 1)
    )
    names = [", ".join(map(str, halts[span])) for span in spans]
    return pa.table([starts, ends, pa.array(names, pa.string())], HALT_SCHEMA)


def _quiet(hole: _Span, ledgers: Sequence[_Ledger]) -> Iterator[_Span]:
    """Yield the parts of the hole, long enough for a halt, in which no series was busy."""
    start = hole[0]
    busy = sorted(span for ledger in ledgers for span in ledger.busy_in(hole))
    for busy_start, busy_end in [*busy, (hole[1], hole[1])]:
        if busy_start - start >= SHORTEST // timedelta(microseconds=1):
            yield start, busy_start
        start = max(start, busy_end)


def _spans(ledger: pa.Table) -> np.ndarray:
    return np.stack([epoch_microseconds(ledger[name]) for name in ("start", "end")], axis=1)
