"""Candles of a product at a granularity: their names, and how the names are read. Pure: no I/O."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TypeVar

from coinbase_assets.plain_text import quoted

# The bound is far above the names that the exchange has.
_PRODUCT = re.compile(r"[A-Z0-9]{1,32}(-[A-Z0-9]{1,32}){1,3}")


class BucketLength(StrEnum):
    """The length of a candle's time bucket: a number and its unit."""

    @property
    def seconds(self) -> int:
        return int(self[:-1]) * _UNITS[self[-1]]

    @property
    def delta(self) -> timedelta:
        return timedelta(seconds=self.seconds)

    @property
    def spans_months(self) -> bool:
        """Whether a bucket may begin in one month and end in the next.

        Buckets that divide a day do not: they begin and end within the same UTC day.
        """
        return _UNITS["d"] % self.seconds != 0


BucketLengthT = TypeVar("BucketLengthT", bound=BucketLength)
_UNITS = {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


class Granularity(BucketLength):
    """The granularities that can be collected: the six that the exchange documents."""

    ONE_MINUTE = "1m"
    FIVE_MINUTES = "5m"
    FIFTEEN_MINUTES = "15m"
    ONE_HOUR = "1h"
    SIX_HOURS = "6h"
    ONE_DAY = "1d"


class RollupGranularity(BucketLength):
    """The granularities that candles can be rolled up to: parts of a UTC day, or whole days.

    Buckets are counted from Monday 1970-01-05, so that weeks begin on Mondays.
    """

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
    """Collected candles: a product at a granularity of the exchange, such as `ETH-EUR:15m`."""

    granularity: Granularity

    @classmethod
    def parse(cls, text: str) -> "Series":
        """Read `PRODUCT:GRANULARITY`. Raises ValueError with the value and the rule."""
        return cls(*_parse(text, {granularity.value: granularity for granularity in Granularity}))

    @property
    def order_book(self) -> str:
        """The product that has the order book: X-USD for X-USDC, else this product."""
        return re.sub("-USDC$", "-USD", self.product)


@dataclass(frozen=True)
class Rollup(CandleSeries):
    """Longer candles of a product, `made_of` the candles of a collected series."""

    granularity: RollupGranularity
    made_of: Series


def parse_candle_series(text: str) -> CandleSeries:
    """Read `PRODUCT:GRANULARITY` of any series; a Series if the exchange has the granularity.

    Raises ValueError with the value and the rule.
    """
    product, granularity = _parse(text, _ALL)
    if isinstance(granularity, Granularity):
        return Series(product, granularity)
    return CandleSeries(product, granularity)


_ALL: dict[str, BucketLength] = {
    granularity.value: granularity
    for granularity in (Granularity.ONE_MINUTE, *RollupGranularity, *Granularity)
}


def is_product(text: str) -> bool:
    """Return whether the text is a product's name, as ETH-EUR: two to four words with dashes.

    A word has 1 to 32 characters of A-Z and 0-9. So a product can be part of a path.
    """
    return _PRODUCT.fullmatch(text) is not None


def _parse(text: str, known: Mapping[str, BucketLengthT]) -> tuple[str, BucketLengthT]:
    text = text.strip()
    product, _, granularity = text.partition(":")
    if not is_product(product):
        raise ValueError(
            f"{quoted(text)}: {quoted(product)} is not a product;"
            " write the product in capitals, for example ETH-EUR:15m"
        )
    if granularity not in known:
        raise ValueError(
            f"{quoted(text)}: unknown granularity {quoted(granularity)};"
            f" allowed are {' '.join(known)}"
        )
    return product, known[granularity]
