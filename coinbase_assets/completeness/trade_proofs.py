"""What the trades around a hole prove. Pure: no I/O.

A hole is a run of buckets without a candle. Trades prove what happened in it if they reach from
before its start to its end without a gap. Trade ids count up, so a gap shows as ids left out; but
some ids are never issued. An id that two answers leave out counts as never issued.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from coinbase_assets.candles.table import TIME_TYPE, epoch_microseconds
from coinbase_assets.candles.windows import Window

# Never-issued ids are few (1,128 in a survey of all products). Where more than this are left out
# in a row, the ids restart.
MOST_SKIPPED = 1000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# An id that so many answers leave out is never issued.
_ANSWERS = 2


@dataclass(frozen=True, eq=False)
class Stretch:
    """Trades of answers that overlap, ascending by id, whose times rise with the ids.

    `ids` and `times` (microseconds since 1970) are columns of `trades`. `is_doubted` says for each
    trade whether ids between it and the trade before are left out, but by one answer only.
    """

    trades: pa.Table
    ids: np.ndarray
    times: np.ndarray
    is_doubted: np.ndarray

    def places(self, hole: Window) -> tuple[int, int]:
        """Return the places of the first trade in the hole, and of the first trade after it."""
        first, after = np.searchsorted(
            self.times, [microseconds(hole.start), microseconds(hole.end)]
        )
        return int(first), int(after)

    def spans(self, hole: Window) -> bool:
        """Whether there is a trade before the hole and a trade after it."""
        first, after = self.places(hole)
        return first > 0 and after < len(self.ids)

    def enters(self, hole: Window) -> bool:
        """Whether there is a trade in the hole."""
        first, after = self.places(hole)
        return first < after


@dataclass(frozen=True)
class Verdict:
    """What happened in a hole: its `trades`, between the trades with the ids `before` and `after`.

    `doubted` are the ids around the first ids that only one answer left out. Until these are asked
    for again, nothing is proven.
    """

    before: int
    after: int
    trades: pa.Table
    doubted: tuple[int, int] | None

    @property
    def witness(self) -> str:
        return f"trades {self.before} to {self.after}"


def microseconds(time: datetime) -> int:
    """Return a time as whole microseconds since 1970."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def judge_hole(stretches: Sequence[Stretch], hole: Window) -> Verdict | None:
    """Return what happened in the hole, None if no stretch reaches from before it to its end.

    If trades of another stretch lie in the hole, or span it, too, then ids do not tell which trades
    are all: ids restart there, and the verdict is None.
    """
    spanning = [stretch for stretch in stretches if stretch.spans(hole)]
    entering = [stretch for stretch in stretches if stretch.enters(hole)]
    if len(spanning) != 1 or any(stretch is not spanning[0] for stretch in entering):
        return None
    (stretch,) = spanning
    first, after = stretch.places(hole)
    doubts = first + np.flatnonzero(stretch.is_doubted[first : after + 1])
    return Verdict(
        before=int(stretch.ids[first - 1]),
        after=int(stretch.ids[after]),
        trades=stretch.trades.slice(first, after - first),
        doubted=_around(stretch, int(doubts[0])) if doubts.size else None,
    )


def _around(stretch: Stretch, place: int) -> tuple[int, int]:
    return int(stretch.ids[place - 1]), int(stretch.ids[place])


def join_answers(answers: Sequence[pa.Table]) -> Sequence[Stretch]:
    """Return the stretches of trades in the answers, each as parse_trades returns it.

    An answer holds all trades between its first and its last, except that it may leave some out.
    Answers are joined if they share a trade. Joined answers that contradict each other, with
    different values for an id, have no stretch.
    """
    return [stretch for group in _groups(answers) for stretch in _stretches(group)]


def _groups(answers: Sequence[pa.Table]) -> Iterator[Sequence[pa.Table]]:
    """Yield the answers in groups of those that share trades."""
    group: list[pa.Table] = []
    known: set[int] = set()
    with_trades = [answer for answer in answers if answer.num_rows]
    for answer in sorted(with_trades, key=lambda answer: answer["id"][0].as_py()):
        ids = answer["id"].to_pylist()
        if group and known.isdisjoint(ids):
            yield group
            group, known = [], set()
        group.append(answer)
        known.update(ids)
    if group:
        yield group


def _stretches(group: Sequence[pa.Table]) -> Iterator[Stretch]:
    trades = _merged(group)
    ids, times = trades["id"].to_numpy(), epoch_microseconds(trades["time"])
    steps = np.diff(ids, prepend=ids[:1] - 1)
    if (steps == 0).any():
        return
    doubted = _is_doubted(group, ids, steps)
    falls = np.diff(times, prepend=times[:1]) < 0
    breaks = np.flatnonzero(falls | (steps > MOST_SKIPPED + 1))
    for start, end in zip([0, *breaks], [*breaks, len(ids)], strict=True):
        part = slice(start, end)
        yield Stretch(trades.slice(start, end - start), ids[part], times[part], doubted[part])


def _merged(group: Sequence[pa.Table]) -> pa.Table:
    """Return the trades of all answers, ascending by id, exact repeats dropped."""
    merged = pa.concat_tables(group).combine_chunks().sort_by("id")
    columns = [column.cast(pa.int64()) if column.type == TIME_TYPE else column for column in merged]
    same = np.logical_and.reduce([np.diff(column.to_numpy()) == 0 for column in columns])
    return merged.filter(pa.array(np.append(True, ~same)))


def _is_doubted(group: Sequence[pa.Table], ids: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Return of each trade whether the ids before it are left out by too few answers."""
    doubted = np.zeros(len(ids), bool)
    ends = np.array([[answer["id"][0].as_py(), answer["id"][-1].as_py()] for answer in group])
    for place in np.flatnonzero(steps > 1):
        covering = (ends[:, 0] <= ids[place - 1]) & (ids[place] <= ends[:, 1])
        doubted[place] = covering.sum() < _ANSWERS
    return doubted
