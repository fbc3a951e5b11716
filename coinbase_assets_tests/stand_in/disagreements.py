"""How candles of several granularities disagree, as recorded ones do.

The true minutes are given, all longer candles are made of them. Times are epoch seconds, UTC.
"""

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from coinbase_assets_tests.stand_in.markets import Candles, Market

LEVELS = (60, 300, 900, 3_600, 21_600, 86_400)
Disagreement = Literal["a", "b", "c", "d"]
"""Which of a market's candles disagree.

a: 0.33 % of 15m volumes differ from their minutes, by up to 73 %, both ways, and longer candles are
made of those. b: minutes hold up to 60 % more than their hour in 17 % of hours, and more than their
day on every day. c: all volumes of days are off by a unit of the eighth decimal. d: none, all
candles are made of the same trades."""


def minutes_of(market: Market, start: int, end: int) -> Candles:
    """Return the final 1m candles of a market, from `start` until `end`; there must be one."""
    rows = market.candles(60, start, end - 60, 2 * end)
    return Candles(*(np.array(column) for column in zip(*rows, strict=True)))


def all_levels(minutes: Candles, disagreement: Disagreement, seed: int = 1) -> dict[int, Candles]:
    """Return the candles of each granularity (seconds); the same seed gives the same ones."""
    levels, made_of = {60: minutes}, minutes
    for seconds in LEVELS[1:]:
        levels[seconds] = made_of.aggregate(seconds)
        if (disagreement, seconds) in _CHANGES:
            levels[seconds] = _CHANGES[disagreement, seconds](levels[seconds], seed)
            made_of = levels[seconds]
    return levels


def _random(times: np.ndarray, seed: int, purpose: int) -> np.ndarray:
    """Return a number from 0 to 1 for each time, the same whichever other times there are."""
    return np.array([np.random.default_rng((seed, purpose, int(time))).random() for time in times])


def _with_volume(candles: Candles, factor: np.ndarray) -> Candles:
    """Return the candles with other volumes, where the factor is not 1, of a unit at least."""
    changed = np.maximum(1e-8, np.round(candles.volume * factor, 8))
    return candles._replace(volume=np.where(factor == 1, candles.volume, changed))


def _differing(candles: Candles, seed: int) -> Candles:
    """Change 0.33 % of the volumes: six of ten have less than their minutes, the rest more."""
    chosen = _random(candles.time, seed, 0) < 0.0033
    share = 1.01 + 0.72 * _random(candles.time, seed, 4) ** 3
    factor = np.where(_random(candles.time, seed, 1) < 0.6, 1 / share, share)
    return _with_volume(candles, np.where(chosen, factor, 1.0))


def _lacking(candles: Candles, seed: int) -> Candles:
    """Take trades from hours, at least one of each day; from half of these the highest ones."""
    chosen = (_random(candles.time, seed, 2) < 0.17) | (candles.time % 86_400 == 0)
    factor = 1 / (1.0001 + 0.5999 * _random(candles.time, seed, 3))
    is_lower = chosen & (_random(candles.time, seed, 5) < 0.5)
    contained = np.maximum(candles.open, candles.close)
    high = np.where(is_lower, contained, candles.high)
    return _with_volume(candles, np.where(chosen, factor, 1.0))._replace(high=high)


def _off_by_a_unit(candles: Candles, seed: int) -> Candles:
    return candles._replace(volume=np.round(candles.volume + 1e-8, 8))


_CHANGES: Mapping[tuple[Disagreement, int], Callable[[Candles, int], Candles]] = {
    ("a", 900): _differing,
    ("b", 3_600): _lacking,
    ("c", 86_400): _off_by_a_unit,
}
