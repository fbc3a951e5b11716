"""Whether a day's candles agree with the exchange's own coarser ones. Pure: no Dagster, no I/O.

Candles of all granularities are made of the same trades, so within a coarser bucket the highest
high and the lowest low are the same, and volumes add up. Prices do so exactly, and decide first: a
coarser candle that reaches a price which no finer one reaches shows a trade that is missing.
Volumes do so nearly: of about 19,600 recorded candles of 15 minutes, 42 had another volume than
their three of 5 minutes, by up to 7 %, with equal prices. So a lack of more than 10 % of a coarser
candle's volume is a contradiction, and one of more than 1 % a reason to look closer: at hours, and
to ask again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from coinbase_assets.candles.calendar import DAY
from coinbase_assets.candles.days import Day
from coinbase_assets.candles.evidence import AGAIN, Evidence
from coinbase_assets.candles.series import Granularity
from coinbase_assets.candles.table import clip_candles, epoch_microseconds, without_candles
from coinbase_assets.candles.windows import Window
from coinbase_assets.completeness.hole_statistics import runs, unusual_holes

HOUR = Granularity.ONE_HOUR.delta

CONTRADICTION = 0.10
LOOK_CLOSER = 0.01
# A lack below this is that of adding floating-point numbers up.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Reference:
    """The exchange's own candles of one day: the daily, and the hourly where they were asked for.

    `as_of` is the exchange's time of the oldest answer. `asked_again` tells whether the day's own
    windows were asked for once more.
    """

    daily: pa.Table
    hourly: pa.Table | None
    as_of: datetime
    asked_again: bool = False


@dataclass(frozen=True)
class _Comparison:
    """Candles against coarser ones; an item of each array is one coarser bucket of the day.

    `found`: there is a coarser candle. `holes`: a bucket in it has no candle. `beyond`: the coarser
    candle reaches a price that no candle reaches. `lacking`: the share of its volume that the
    candles lack, negative for a surplus. `differs`: prices differ, or volumes by a contradiction.
    """

    length: timedelta
    found: np.ndarray
    holes: np.ndarray
    beyond: np.ndarray
    lacking: np.ndarray
    differs: np.ndarray

    @property
    def contradicts(self) -> np.ndarray:
        return self.beyond | (self.lacking > CONTRADICTION)


def is_doubtful(day: Day, reference: Reference) -> bool:
    """Whether the daily candle leaves it open if the day is whole, so that hours must tell."""
    daily = _compare(day, reference.daily, DAY)
    lacking = daily.lacking.item()
    unusual = lacking > _ROUNDING and bool(unusual_holes(day.is_hole))
    return bool(daily.differs.item() or (daily.holes.item() and (lacking > LOOK_CLOSER or unusual)))


def suspects(day: Day, missing: pa.Table, reference: Reference) -> Sequence[Window]:
    """Where the day should be asked for again, on the grid of the coarser candles, ascending.

    There the coarser candles show what the day lacks, or it lacks candles stored before, which are
    `missing`. Where no coarser candle exists, all holes are to be asked for a second time.
    """
    coarser = _decisive(day, reference)
    if not coarser.found.any():
        suspect = coarser.holes & (day.candles.num_rows > 0) & (not reference.asked_again)
    else:
        suspect = coarser.beyond | (coarser.holes & (coarser.lacking > LOOK_CLOSER))
        suspect |= _contradicted(day, reference, coarser)
    suspect |= _totals(missing, day.start, coarser.length).count > 0
    return [
        Window(day.start + first * coarser.length, day.start + end * coarser.length)
        for first, end in runs(suspect)
        if suspect[first]
    ]


def weigh(day: Day, reference: Reference) -> Evidence:
    """What the reference says of the day."""
    coarser = _decisive(day, reference)
    contradicted = _contradicted(day, reference, coarser)
    compared_with = Granularity.ONE_HOUR if coarser.length == HOUR else Granularity.ONE_DAY
    exists = coarser.found.any() or not day.candles.num_rows
    hours = coarser.length // HOUR
    return Evidence(
        compared_with.value if exists and compared_with != day.series.granularity else AGAIN,
        reference.as_of,
        tuple(range(a * hours, b * hours) for a, b in runs(contradicted) if contradicted[a]),
        _disagreement(day, coarser, contradicted) if exists else "",
    )


def confirmed_absent(day: Day, missing: pa.Table, reference: Reference) -> pa.Table:
    """Those of the `missing` candles that the coarser ones lack, too.

    They do where their prices are those of the day without the missing ones, and the volume that
    they have more is nearer to none than to that of the candle. An hour without a candle lacks it
    only if the daily candle does, and nothing is lacking if that one reaches a price beyond.
    """
    coarser, daily = _decisive(day, reference), _compare(day, reference.daily, DAY)
    if day.series.granularity.delta == DAY or daily.beyond.any():
        return missing.slice(0, 0)
    absent = _lacks(_coarser_candles(reference), missing, day, coarser.length)
    by_day = _lacks(reference.daily, missing, day, DAY)
    found = coarser.found[_blocks(missing, day.start, coarser.length)]
    return missing.filter(pa.array(absent & (found | (by_day & daily.found))))


def _lacks(coarser: pa.Table, missing: pa.Table, day: Day, length: timedelta) -> np.ndarray:
    """Whether the coarser candles have no room for each candle that the day is missing."""
    theirs, ours = _totals(coarser, day.start, length), _totals(day.candles, day.start, length)
    blocks = _blocks(missing, day.start, length)
    same_prices = (theirs.high == ours.high) & (theirs.low == ours.low)
    more = (theirs.volume - ours.volume)[blocks]
    return same_prices[blocks] & (more < missing["volume"].to_numpy() / 2)


def missing_candles(stored: Day, asked: Day) -> pa.Table:
    """The stored candles that the newer answer covers and does not hold."""
    covered = clip_candles(stored.candles, asked.answered_from, asked.answered_through)
    return without_candles(covered, asked.candles)


def _decisive(day: Day, reference: Reference) -> _Comparison:
    """By the hours, where they were asked for and exist, else by the daily candle."""
    by_hours = reference.hourly is not None and reference.hourly.num_rows
    return _compare(day, _coarser_candles(reference), HOUR if by_hours else DAY)


def _coarser_candles(reference: Reference) -> pa.Table:
    hourly = reference.hourly
    return hourly if hourly is not None and hourly.num_rows else reference.daily


def _contradicted(day: Day, reference: Reference, coarser: _Comparison) -> np.ndarray:
    """The coarser buckets with holes in which the exchange shows trades that no candle holds.

    Trades that the daily candle shows, but no hourly one, are in an hour that has none; if each
    hour with holes has one, in any of them.
    """
    contradicted = coarser.holes & coarser.contradicts
    if coarser.length < DAY and _shows_more(day, reference):
        unknown = coarser.holes & ~coarser.found
        contradicted |= unknown if unknown.any() else coarser.holes
    return contradicted


def _shows_more(day: Day, reference: Reference) -> bool:
    """Whether the daily candle shows trades that neither the day's candles nor the hours' hold."""
    ours = _totals(day.candles, day.start, HOUR)
    hours = _totals(_coarser_candles(reference), day.start, HOUR)
    daily = _totals(reference.daily, day.start, DAY)
    low, high = min(ours.low.min(), hours.low.min()), max(ours.high.max(), hours.high.max())
    known = np.maximum(ours.volume, hours.volume).sum()
    lacking = daily.volume - known > CONTRADICTION * daily.volume
    return bool(((daily.low < low) | (daily.high > high) | lacking).item())


def _disagreement(day: Day, coarser: _Comparison, contradicted: np.ndarray) -> str:
    """Names the coarser buckets, at most three, that differ from the day's candles."""
    places = np.flatnonzero(coarser.differs | contradicted).tolist()
    if not places:
        return ""
    shown = ", ".join(f"{day.start + place * coarser.length:%H:%M}" for place in places[:3])
    more = f" and {len(places) - 3} more" if len(places) > 3 else ""
    if coarser.length == DAY:
        return "differs from the daily candle"
    return f"differs from the hourly candles of {shown}{more}"


@dataclass(frozen=True)
class _Totals:
    """Candles added up, an item of each array a coarser bucket; without any: inf, -inf, 0, 0."""

    low: np.ndarray
    high: np.ndarray
    volume: np.ndarray
    count: np.ndarray


def _compare(day: Day, coarser: pa.Table, length: timedelta) -> _Comparison:
    ours = _totals(day.candles, day.start, length)
    theirs = _totals(coarser, day.start, length)
    found = theirs.count > 0
    lacking = np.divide(
        theirs.volume - ours.volume,
        theirs.volume,
        out=np.zeros(len(found)),
        where=theirs.volume > 0,
    )
    prices_differ = (ours.low != theirs.low) | (ours.high != theirs.high)
    return _Comparison(
        length,
        found,
        ours.count < length // day.series.granularity.delta,
        (theirs.high > ours.high) | (theirs.low < ours.low),
        lacking,
        prices_differ | (abs(lacking) > CONTRADICTION),
    )


def _totals(candles: pa.Table, start: datetime, length: timedelta) -> _Totals:
    blocks = _blocks(candles, start, length)
    number = DAY // length
    low, high = np.full(number, np.inf), np.full(number, -np.inf)
    np.minimum.at(low, blocks, candles["low"].to_numpy())
    np.maximum.at(high, blocks, candles["high"].to_numpy())
    volume = np.bincount(blocks, candles["volume"].to_numpy(), number)
    return _Totals(low, high, volume, np.bincount(blocks, minlength=number))


def _blocks(candles: pa.Table, start: datetime, length: timedelta) -> np.ndarray:
    """Of each candle of the day, which coarser bucket of the day it lies in."""
    since = epoch_microseconds(candles["time"]) - int(start.timestamp()) * 1_000_000
    return since // (length // timedelta(microseconds=1))
