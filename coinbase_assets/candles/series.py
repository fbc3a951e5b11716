"""Candles of a product at a granularity: their names and places. Pure: no I/O."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TypeVar

_PRODUCT = re.compile(r"[A-Z0-9]+-[A-Z0-9]+")


class BucketLength(StrEnum):
    """The length of a candle's time bucket: a number and its unit."""

    @property
    def seconds(self) -> int:
        return int(self[:-1]) * _UNITS[self[-1]]

    @property
    def delta(self) -> timedelta:
        return timedelta(seconds=self.seconds)


BucketLengthT = TypeVar("BucketLengthT", bound=BucketLength)
_UNITS = {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


class Granularity(BucketLength):
    """What can be collected: the exchange knows these six (its documentation)."""

    ONE_MINUTE = "1m"
    FIVE_MINUTES = "5m"
    FIFTEEN_MINUTES = "15m"
    ONE_HOUR = "1h"
    SIX_HOURS = "6h"
    ONE_DAY = "1d"


class RollupGranularity(BucketLength):
    """What finer candles can be summed up to: parts of a UTC day, days, and weeks from Monday."""

    FIVE_MINUTES = "5m"
    FIFTEEN_MINUTES = "15m"
    THIRTY_MINUTES = "30m"
    ONE_HOUR = "1h"
    TWO_HOURS = "2h"
    FOUR_HOURS = "4h"
    SIX_HOURS = "6h"
    TWELVE_HOURS = "12h"
    ONE_DAY = "1d"
    ONE_WEEK = "1w"


@dataclass(frozen=True, order=True)
class CandleSeries:
    """Candles of a product, collected or rolled up, such as `ETH-EUR:4h`."""

    product: str
    granularity: BucketLength

    def __str__(self) -> str:
        return f"{self.product}:{self.granularity}"

    @property
    def group(self) -> str:
        """The name that groups the product's assets in the web UI."""
        return self.product.replace("-", "_")


@dataclass(frozen=True, order=True)
class Series(CandleSeries):
    """What is collected: a product at a granularity of the exchange's, such as `ETH-EUR:15m`."""

    granularity: Granularity

    @classmethod
    def parse(cls, text: str) -> "Series":
        """Read `PRODUCT:GRANULARITY`. Raises ValueError with the value and the rule."""
        return cls(*_parse(text, {one.value: one for one in Granularity}))

    @property
    def order_book(self) -> str:
        """The product whose trades it shows: USDC books are USD ones under another name."""
        return re.sub("-USDC$", "-USD", self.product)


@dataclass(frozen=True)
class Rollup(CandleSeries):
    """Candles of a product, made of those of a collected series, the `source`."""

    granularity: RollupGranularity
    source: Series


def parse_candle_series(text: str) -> CandleSeries:
    """The same for all candles that there can be; a Series where the exchange has them."""
    product, granularity = _parse(text, _ALL)
    if isinstance(granularity, Granularity):
        return Series(product, granularity)
    return CandleSeries(product, granularity)


_ALL: dict[str, BucketLength] = {
    one.value: one for one in (Granularity.ONE_MINUTE, *RollupGranularity, *Granularity)
}


def _parse(text: str, known: Mapping[str, BucketLengthT]) -> tuple[str, BucketLengthT]:
    product, _, granularity = text.strip().partition(":")
    if not _PRODUCT.fullmatch(product):
        raise ValueError(
            f"{text.strip()!r}: {product!r} is not a product;"
            " write PRODUCT:GRANULARITY in capitals, such as ETH-EUR:15m"
        )
    if granularity not in known:
        raise ValueError(
            f"{text.strip()!r}: unknown granularity {granularity!r}; allowed are {' '.join(known)}"
        )
    return product, known[granularity]
