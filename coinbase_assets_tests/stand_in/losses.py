"""Markets that have lost candles, or whose candles are wrong, while the truth is known.

Times are epoch seconds, UTC.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from coinbase_assets_tests.stand_in.disagreements import LEVELS, Disagreement, all_levels
from coinbase_assets_tests.stand_in.markets import Candles, Row

Kind = Literal[
    "one answer",
    "every answer",
    "two levels",
    "up to 1h",
    "masked",
    "masked fully",
    "every level",
    "altered",
]
"""Where a candle is lost.

one answer: in the first answer with its bucket. every answer: in all of the series' granularity.
two levels: at the next longer granularity, too. up to 1h: at all granularities up to that. masked:
in every answer, with 95 % of its volume added to a candle at least 100 candles earlier. masked
fully: in every answer, with its volume added to a candle of the same 15m bucket, or if none is left
there, of the same hour, 6 hours or day. every level: at every granularity; trades alone know it.
altered: not lost, but with wrong values in every answer, see `_altered`."""

_LOST_UP_TO: Mapping[str, int] = {"two levels": 2, "up to 1h": 3_600, "every level": 86_400}


@dataclass
class LossyMarket:
    """The exchange's candles of a product, made of its true `minutes`, some of which it has lost.

    `lost` are starts of buckets of `step` seconds, in which there was trade. `levels` are the
    candles of each granularity (seconds) that it answers.
    """

    minutes: Candles
    step: int
    kind: Kind
    lost: Collection[int]
    disagreement: Disagreement = "d"
    levels: dict[int, Candles] = field(init=False, repr=False)
    _seen: set[int] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        is_lost = np.isin(self.minutes.time // self.step * self.step, list(self.lost))
        whole = all_levels(self.minutes, self.disagreement)
        gone = all_levels(self.minutes.select(~is_lost), self.disagreement)
        next_level = next((seconds for seconds in LEVELS if seconds > self.step), 0)
        last = next_level if self.kind == "two levels" else _LOST_UP_TO.get(self.kind, 0)
        self.levels = {
            level: gone[level] if self.step <= level <= last else whole[level] for level in whole
        }
        self.levels[self.step] = self._of_series(whole[self.step])

    @property
    def listing(self) -> int:
        return int(self.minutes.time[0])

    def candles(self, granularity: int, first: int, last: int, now: float) -> Sequence[Row]:
        """Return rows, see `Market.candles`."""
        candles = self.levels.get(granularity)
        if candles is None:
            return []
        rows = candles.select((candles.time >= first) & (candles.time <= min(last, now))).rows()
        if self.kind != "one answer" or granularity != self.step:
            return rows
        asked = {time for time in self.lost if first <= time <= last}
        hidden = asked - self._seen
        self._seen |= asked
        return [row for row in rows if row[0] not in hidden]

    def _of_series(self, true: Candles) -> Candles:
        """Return what every answer with candles of the series holds."""
        is_lost = np.isin(true.time, list(self.lost))
        match self.kind:
            case "one answer":
                return true
            case "altered":
                return _altered(true, is_lost)
            case "masked":
                return _masked(true, is_lost).select(~is_lost)
            case "masked fully":
                return _masked_fully(true, is_lost).select(~is_lost)
        return true.select(~is_lost)


def true_holes(true: Candles, start: int, end: int, step: int) -> Sequence[int]:
    """Return the starts of the buckets of `step` seconds in which nothing was traded."""
    buckets = np.arange(start, end, step)
    return buckets[~np.isin(buckets, true.time)].tolist()


def _masked(true: Candles, is_lost: np.ndarray) -> Candles:
    """Add 95 % of each lost volume to a candle at least 100 candles earlier."""
    volume = true.volume.copy()
    for place in np.flatnonzero(is_lost):
        other = next(n for n in range(max(0, int(place) - 100), -1, -1) if not is_lost[n])
        volume[other] += 0.95 * volume[place]
    return true._replace(volume=np.round(volume, 8))


def _masked_fully(true: Candles, is_lost: np.ndarray) -> Candles:
    """Add each lost volume to the next candle of the shortest bucket that has one left."""
    volume, kept = true.volume.copy(), np.flatnonzero(~is_lost)
    for place in np.flatnonzero(is_lost):
        for length in (900, 3_600, 21_600, 86_400):
            others = kept[true.time[kept] // length == true.time[place] // length]
            if others.size:
                volume[others[np.argmin(abs(others - place))]] += volume[place]
                break
    return true._replace(volume=np.round(volume, 8))


def _altered(true: Candles, is_altered: np.ndarray) -> Candles:
    """Return the candles with wrong values.

    Every other one has 5 % more volume and a high 5 % up, the rest have 5 % less volume and close
    at the low, or at the high if they truly close at the low.
    """
    is_more = is_altered & (np.cumsum(is_altered) % 2 == 1)
    is_less = is_altered & ~is_more
    other_end = np.where(true.close == true.low, true.high, true.low)
    factor = np.select([is_more, is_less], [1.05, 0.95], 1.0)
    volume = np.where(is_altered, np.maximum(1e-8, np.round(true.volume * factor, 8)), true.volume)
    return true._replace(
        volume=volume,
        high=np.where(is_more, np.round(true.high * 1.05, 8), true.high),
        close=np.where(is_less, other_end, true.close),
    )
