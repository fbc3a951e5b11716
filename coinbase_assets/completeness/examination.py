"""The examination of a closed day: which of its holes the exchange's coarser candles prove.

Candles of all granularities are made of the same trades. A coarser candle that equals the candles
in its bucket proves that nothing else was traded there. A coarser candle with less volume, and no
price beyond, has lost trades itself: it proves nothing and blames nothing. A coarser candle that
shows more is a doubt, and so is one that shows more than the exchange's own candles in it.
docs/decisions/2026-11-27-no-trades-is-a-proof.md has the measurements.

Pure: no Dagster, no I/O. Where candles of a granularity are needed that were not asked for yet,
the examination says so.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property

import numpy as np
import pyarrow as pa

from coinbase_assets.candles.calendar import DAY
from coinbase_assets.candles.days import Day
from coinbase_assets.candles.proofs import NO_TRADES, SHOWS_MORE, UNCONFIRMED, Proof
from coinbase_assets.candles.series import Granularity
from coinbase_assets.candles.windows import Window
from coinbase_assets.completeness.folding import Folded, Relation, fold, relate
from coinbase_assets.completeness.hole_statistics import runs

_COARSEST_FIRST = sorted(Granularity, key=lambda each: -each.seconds)


def witness_levels(granularity: Granularity) -> Sequence[Granularity]:
    """Return the granularities that can be witnesses of a series, the coarsest first.

    No candle is longer than a day, so candles of six hours are the witness of daily candles.
    """
    if granularity == Granularity.ONE_DAY:
        return [Granularity.SIX_HOURS]
    return [each for each in _COARSEST_FIRST if each.seconds > granularity.seconds]


@dataclass(frozen=True)
class Answered:
    """The exchange's candles of one granularity on the day, and the exchange's time of them."""

    candles: pa.Table
    as_of: datetime


@dataclass(frozen=True)
class Witnesses:
    """What is known for the examination of a day.

    `first` is the coarsest granularity that is reliable for the series; the `exact` ones hardly
    ever differ from it. `levels` are the candles that were asked for. `by_trades` says what trades
    prove of single holes, see TradesOfHole. `examined` has the days that were examined with these.
    """

    first: Granularity
    levels: Mapping[Granularity, Answered] = field(default_factory=dict)
    by_trades: Sequence[Proof] = ()
    exact: frozenset[Granularity] = frozenset()
    examined: "list[tuple[Day, Examination]]" = field(
        default_factory=list, init=False, repr=False, compare=False
    )

    @property
    def as_of(self) -> datetime:
        """The exchange's time of the oldest answer. There must be one."""
        return min(answered.as_of for answered in self.levels.values())


@dataclass(frozen=True)
class Examination:
    """What came of an examination.

    `proofs` have an entry for each run of holes, ascending. `more` are the buckets, of any
    length, for which a coarser candle shows more than the day has, `less` those for which an exact
    granularity shows less. `blaming` are the granularities that show more. `needs` is a granularity
    to be asked for first, or None if the examination is complete. `relations` has what each
    granularity says of each of its buckets.
    """

    proofs: tuple[Proof, ...]
    more: Sequence[Window]
    less: Sequence[Window]
    blaming: frozenset[Granularity]
    needs: Granularity | None
    relations: Mapping[Granularity, np.ndarray]

    @property
    def suspects(self) -> Sequence[Window]:
        """The buckets for which coarser candles differ."""
        return [*self.more, *self.less]


def examine(day: Day, witnesses: Witnesses) -> Examination:
    """Examine the candles of a closed day, each once: the same is asked several times."""
    for examined, found in witnesses.examined:
        if examined is day:
            return found
    found = _examine(day, witnesses)
    witnesses.examined.append((day, found))
    return found


def _examine(day: Day, witnesses: Witnesses) -> Examination:
    walk = _Walk(day, witnesses)
    walk.walk()
    return Examination(
        tuple(walk.hole_proofs()),
        walk.more,
        walk.less(),
        frozenset(walk.blaming),
        next((level for level in walk.levels if level in walk.needs), None),
        walk.relations,
    )


class _Walk:
    """A walk from coarser to finer buckets, as deep as each needs."""

    def __init__(self, day: Day, witnesses: Witnesses) -> None:
        self.day, self.witnesses = day, witnesses
        self.levels = witness_levels(day.series.granularity)
        self.more: list[Window] = []
        self.blaming: set[Granularity] = set()
        self.needs: set[Granularity] = set()
        self.relations: dict[Granularity, np.ndarray] = {}
        self._theirs: dict[tuple[Granularity, timedelta], Folded] = {}
        self._proven: list[tuple[int, int, Granularity]] = []
        self._step = day.series.granularity.delta

    def walk(self) -> None:
        for level in self.levels:
            if level in self.witnesses.levels:
                self._relations(level)
        if not self.day.is_hole.any():
            self._look_for_differences()
            return
        place = 0 if self._beyond else self.levels.index(self.witnesses.first)
        for bucket in range(DAY // self._length(self.levels[place])):
            self._look(place, bucket)

    def _look_for_differences(self) -> None:
        """Without a hole, the daily candle alone is looked at, unless it shows more."""
        coarsest = self.levels[0]
        differs = {Relation.LESS} if coarsest in self.witnesses.exact else set()
        if self.witnesses.first == coarsest:
            differs.add(Relation.MORE)
        if self._beyond or (coarsest in self.relations and self.relations[coarsest][0] in differs):
            self._look(0, 0)

    def less(self) -> Sequence[Window]:
        """Return the buckets for which the finest exact level shows less."""
        exact = self.witnesses.exact & self.relations.keys()
        finest = [level for level in self.levels if level in exact][-1:]
        return [
            self._window(level, int(bucket))
            for level in finest
            for bucket in np.flatnonzero(self.relations[level] == Relation.LESS)
        ]

    @cached_property
    def _beyond(self) -> bool:
        """Whether the daily candle reaches a price that no candle of the day reaches."""
        if self.levels[0] not in self.witnesses.levels:
            return False
        theirs, ours = (
            self._folded(self.levels[0], DAY),
            fold(self.day.candles, self.day.start, DAY),
        )
        return bool((theirs.high > ours.high)[0] or (theirs.low < ours.low)[0])

    def _look(self, place: int, bucket: int) -> None:
        level = self.levels[place]
        window = self._window(level, bucket)
        if not self._has(level):
            return
        match self._relations(level)[bucket]:
            case Relation.SAME:
                self._prove(window, level)
            case Relation.NOTHING:
                self._look_around(place, window)
            case Relation.LESS:
                if place + 1 < len(self.levels) and not self._finer_candles_lack(place, bucket):
                    self._look_closer(place, window)
            case _:
                self.blaming.add(level)
                if self._finer_candles_agree(place, bucket):
                    self._look_closer(place, window)
                else:
                    self.more.append(window)

    def _look_closer(self, place: int, window: Window) -> None:
        finer = self._length(self.levels[place + 1])
        first = (window.start - self.day.start) // finer
        for bucket in range(first, first + (window.end - window.start) // finer):
            self._look(place + 1, bucket)

    def _finer_candles_agree(self, place: int, bucket: int) -> bool:
        """Whether the next finer candles of the exchange make up its coarser candle.

        If they do not, they have lost the same trades, and are no witness.
        """
        if place + 1 == len(self.levels):
            return False
        finer = place + 1
        return not self._has(self.levels[finer]) or self._own(place, finer, bucket) == Relation.SAME

    def _finer_candles_lack(self, place: int, bucket: int) -> bool:
        """Whether the next finer candles of the exchange lack trades of its coarser candle."""
        finer = place + 1
        return self._has(self.levels[finer]) and self._own(place, finer, bucket) == Relation.MORE

    def _own(self, place: int, finer: int, bucket: int) -> Relation:
        """Return how a candle of the exchange relates to its own finer candles."""
        length = self._length(self.levels[place])
        coarse, fine = (self._folded(self.levels[each], length) for each in (place, finer))
        return Relation(relate(coarse, fine)[bucket])

    def _look_around(self, place: int, window: Window) -> None:
        """Prove an empty bucket by a coarser candle that exists.

        That must equal our candles, or the exchange's own of this length.
        """
        for coarser in reversed(range(place)):
            level = self.levels[coarser]
            if not self._has(level):
                return
            bucket = (window.start - self.day.start) // self._length(level)
            same = self._relations(level)[bucket] == Relation.SAME
            if same or self._own(coarser, place, bucket) == Relation.SAME:
                self._prove(window, level)
                return

    def _prove(self, window: Window, level: Granularity) -> None:
        self._proven.append((*self._places(window), level))

    def _has(self, level: Granularity) -> bool:
        if level not in self.witnesses.levels:
            self.needs.add(level)
        return level in self.witnesses.levels

    def _relations(self, level: Granularity) -> np.ndarray:
        if level not in self.relations:
            length = self._length(level)
            ours = fold(self.day.candles, self.day.start, length)
            self.relations[level] = relate(self._folded(level, length), ours)
        return self.relations[level]

    def _folded(self, level: Granularity, length: timedelta) -> Folded:
        key = (level, length)
        if key not in self._theirs:
            candles = self.witnesses.levels[level].candles
            self._theirs[key] = fold(candles, self.day.start, length)
        return self._theirs[key]

    def _length(self, level: Granularity) -> timedelta:
        return max(level.delta, self._step)

    def _window(self, level: Granularity, bucket: int) -> Window:
        length = self._length(level)
        start = self.day.start + bucket * length
        return Window(start, start + length)

    def _places(self, window: Window) -> tuple[int, int]:
        first, end = ((time - self.day.start) // self._step for time in (window.start, window.end))
        return first, end

    def hole_proofs(self) -> Iterator[Proof]:
        """Yield what is known of each run of holes, split where another witness speaks."""
        witness = np.full(len(self.day.is_hole), -1)
        for first, end, level in self._proven:
            witness[first:end] = self.levels.index(level)
        witness[~self.day.is_hole] = -2
        for first, end in runs(witness):
            if witness[first] > -2:
                yield from self._proofs_of(first, end, int(witness[first]))

    def _proofs_of(self, first: int, end: int, place: int) -> Iterator[Proof]:
        start, stop = (self.day.start + n * self._step for n in (first, end))
        if place >= 0:
            level = self.levels[place]
            as_of = self.witnesses.levels[level].as_of
            yield Proof(start, stop, NO_TRADES, f"the {level} candles agree", as_of)
            return
        for proof in self.witnesses.by_trades:
            if proof.start < stop and start < proof.end:
                if start < proof.start:
                    yield self._doubt(start, proof.start)
                start = max(start, proof.start)
                yield replace(proof, start=start, end=min(stop, proof.end))
                start = min(stop, proof.end)
        if start < stop:
            yield self._doubt(start, stop)

    def _doubt(self, start: datetime, end: datetime) -> Proof:
        as_of = self.witnesses.as_of if self.witnesses.levels else self.day.refreshed_at
        return Proof(start, end, UNCONFIRMED, self._doubt_of(start), as_of)

    def _doubt_of(self, start: datetime) -> str:
        """Say why nothing proves the hole that begins at `start`."""
        for place, level in enumerate(self.levels):
            if level not in self.relations:
                continue
            bucket = (start - self.day.start) // self._length(level)
            if self.relations[level][bucket] == Relation.MORE:
                return f"the {level} candle {SHOWS_MORE}"
            finer = next(iter(self.levels[place + 1 :]), None)
            if finer in self.relations and self._own(place, place + 1, bucket) == Relation.MORE:
                return f"the {level} candle shows more than the {finer} candles"
        return "no coarser candle agrees"
