"""Which candles to lose, and what became of them in the lake. Times are epoch seconds, UTC."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from benchmarks.lossy_books import DAY, Book, Case
from benchmarks.lossy_days import Found
from coinbase_assets_tests.stand_in.losses import true_holes
from coinbase_assets_tests.stand_in.markets import Candles

LENGTHS = (1, 2, 3, 5, 10, 30, 60)
LOSSES_A_DAY = 3


@dataclass(frozen=True)
class Truth:
    """What became of lost candles, by the length of the lost run, and of true holes.

    `named` is the share of candles that the ledger does not call untraded; of altered ones, the
    share that is right again or on a day that is said to disagree. `back` is the share that is in
    the lake with its true values. `proven` is the share of true holes that the ledger calls
    untraded. `wrong` counts lost candles that it calls so.
    """

    named: Mapping[int, float]
    back: Mapping[int, float]
    proven: float
    wrong: int


def plant(book: Book, lengths: Sequence[int] = LENGTHS) -> Mapping[int, set[int]]:
    """Return the minutes to lose: on each day, runs of one length, at random places."""
    random = np.random.default_rng(7)
    lost = {length: set[int]() for length in lengths}
    for number in range(book.days):
        length = lengths[number % len(lengths)]
        for part in np.array_split(_of_day(book.minutes, book, number), LOSSES_A_DAY):
            first = int(random.integers(0, len(part) - length + 1))
            lost[length] |= set(part[first : first + length].tolist())
    return lost


def single_candles(case: Case) -> set[int]:
    """Return the starts of candles to lose: one on each third day, at a random place."""
    random = np.random.default_rng(7)
    days = range(1, case.book.days, 3)
    return {int(random.choice(_of_day(case.true, case.book, number))) for number in days}


def _of_day(candles: Candles, book: Book, number: int) -> np.ndarray:
    """Return the starts of the candles of a day of the book."""
    day = book.start + number * DAY
    return candles.time[(candles.time >= day) & (candles.time < day + DAY)]


def compare(case: Case, found: Found) -> Truth:
    """Compare the lake with the truth."""
    back, wrong = _back(case, found), _wrong(case, found)
    missed = _unsaid(case, found) - back if case.kind == "altered" else wrong
    holes = true_holes(case.true, case.book.start, case.book.end, case.step)
    proven = [time for time in holes if found.states.get(time) == "no_trades"]
    return Truth(
        {length: 1 - _share(lost & missed, lost) for length, lost in case.lost.items()},
        {length: _share(lost & back, lost) for length, lost in case.lost.items()},
        _share(proven, holes),
        len(wrong),
    )


def _back(case: Case, found: Found) -> set[int]:
    """Return the lost candles that are in the lake with their true values."""
    true = {int(row[0]): row[1:] for row in case.true.rows()}
    stored = case.all_lost & found.rows.keys()
    return {time for time in stored if np.allclose(found.rows[time], true[time], 0, 1e-8)}


def _wrong(case: Case, found: Found) -> set[int]:
    """Return the lost candles that the ledger calls untraded."""
    return {time for time in case.all_lost if found.states.get(time) == "no_trades"}


def _unsaid(case: Case, found: Found) -> set[int]:
    """Return the lost candles on days that are not said to disagree."""
    days = {time: f"{datetime.fromtimestamp(time, UTC):%F}" for time in case.all_lost}
    return {time for time, day in days.items() if day not in found.disagreeing}


def _share(part: Collection[int], whole: Collection[int]) -> float:
    """Return the share; of nothing, all."""
    return len(part) / len(whole) if whole else 1.0
