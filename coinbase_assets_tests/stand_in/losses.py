"""Markets that lose candles and whose granularities disagree, as recorded ones do.

The true candles of minutes are given; all others are made of them. Times are epoch seconds, UTC.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from coinbase_assets_tests.stand_in.markets import Candles, Row

LEVELS = (60, 300, 900, 3_600, 21_600, 86_400)
Disagreement = Literal["a", "b", "c", "d"]
"""How granularities disagree. a: 0.33 % of 15m volumes differ from their minutes, both ways, and
longer candles are made of those. b: minutes hold up to 60 % more than their hour in 17 % of hours,
and more than their day on every day. c: all volumes of days are off by a unit of the eighth
decimal. d: all candles are made of the same trades."""
Kind = Literal[
    "one answer",
    "every answer",
    "two levels",
    "up to 1h",
    "masked",
    "every level",
    "altered",
]
"""Where a candle is lost: in the first answer with its bucket; in every answer; in every answer and
at the next longer granularity; in all up to 1h; in every answer, with 95 % of its volume added to
another candle; at every granularity. `altered`: it is there, with 5 % more volume."""

_LOST_UP_TO: Mapping[str, int] = {"two levels": 2, "up to 1h": 3_600, "every level": 86_400}


def all_levels(minutes: Candles, disagreement: Disagreement, seed: int = 1) -> dict[int, Candles]:
    """Return the candles of all granularities, made of the minutes."""
    levels, made_of = {60: minutes}, minutes
    for seconds in LEVELS[1:]:
        made = made_of.aggregate(seconds)
        if disagreement == "a" and seconds == 900:
            made_of = made = _differing(made, seed)
        if disagreement == "b" and seconds == 3_600:
            made_of = made = _lacking(made, seed)
        if disagreement == "c" and seconds == 86_400:
            made = made._replace(volume=np.round(made.volume + 1e-8, 8))
        levels[seconds] = made
    return levels


def _random(times: np.ndarray, seed: int, purpose: int) -> np.ndarray:
    """Return a number from 0 to 1 for each time. It depends on that time alone."""
    return np.array([np.random.default_rng((seed, purpose, int(time))).random() for time in times])


def _differing(candles: Candles, seed: int) -> Candles:
    chosen = _random(candles.time, seed, 0) < 0.0033
    factor = np.where(_random(candles.time, seed, 1) < 0.6, 0.93, 1.07)
    return candles._replace(
        volume=np.round(np.where(chosen, candles.volume * factor, candles.volume), 8)
    )


def _lacking(candles: Candles, seed: int) -> Candles:
    """Return hours without a part of their trades: at least one hour of each day."""
    chosen = (_random(candles.time, seed, 2) < 0.17) | (candles.time % 86_400 == 0)
    factor = 1 / (1 + 0.6 * _random(candles.time, seed, 3))
    return candles._replace(
        volume=np.round(np.where(chosen, candles.volume * factor, candles.volume), 8)
    )


@dataclass
class LossyMarket:
    """The exchange's candles of a product, made of `minutes`, some of which it has lost.

    `lost` are starts of buckets of `step` seconds, in which there was trade.
    """

    minutes: Candles
    step: int
    kind: Kind
    lost: Collection[int]
    disagreement: Disagreement = "d"
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
                factor = np.where(is_lost, 1.05, 1.0)
                return true._replace(volume=np.round(true.volume * factor, 8))
            case "masked":
                return _masked(true, is_lost).select(~is_lost)
        return true.select(~is_lost)


def _masked(true: Candles, is_lost: np.ndarray) -> Candles:
    """Add 95 % of each lost volume to a candle at least 100 candles earlier."""
    volume = true.volume.copy()
    for place in np.flatnonzero(is_lost):
        other = next(n for n in range(max(0, int(place) - 100), -1, -1) if not is_lost[n])
        volume[other] += 0.95 * volume[place]
    return true._replace(volume=np.round(volume, 8))
