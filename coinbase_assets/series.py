"""What is collected: a product at a granularity; its names and places. Pure: no I/O."""

import re
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

_PRODUCT = re.compile(r"[A-Z0-9]+-[A-Z0-9]+")


class Granularity(StrEnum):
    """The length of a candle's time bucket; the exchange knows these six (its documentation)."""

    ONE_MINUTE = "1m"
    FIVE_MINUTES = "5m"
    FIFTEEN_MINUTES = "15m"
    ONE_HOUR = "1h"
    SIX_HOURS = "6h"
    ONE_DAY = "1d"

    @property
    def seconds(self) -> int:
        return _SECONDS[self]

    @property
    def delta(self) -> timedelta:
        return timedelta(seconds=self.seconds)


_SECONDS = dict(zip(Granularity, (60, 300, 900, 3_600, 21_600, 86_400), strict=True))


@dataclass(frozen=True, order=True)
class Series:
    """A product at a granularity, such as `ETH-EUR:15m`."""

    product: str
    granularity: Granularity

    @classmethod
    def parse(cls, text: str) -> "Series":
        """Read `PRODUCT:GRANULARITY`. Raises ValueError with the value and the rule."""
        product, _, granularity = text.strip().partition(":")
        if not _PRODUCT.fullmatch(product):
            raise ValueError(
                f"{text.strip()!r}: {product!r} is not a product;"
                " write PRODUCT:GRANULARITY in capitals, such as ETH-EUR:15m"
            )
        if granularity not in set(Granularity):
            raise ValueError(
                f"{text.strip()!r}: unknown granularity {granularity!r};"
                f" allowed are {' '.join(Granularity)}"
            )
        return cls(product, Granularity(granularity))

    def __str__(self) -> str:
        return f"{self.product}:{self.granularity}"

    @property
    def order_book(self) -> str:
        """The product whose trades it shows: USDC books are USD ones under another name."""
        return re.sub("-USDC$", "-USD", self.product)

    @property
    def group(self) -> str:
        """The name that groups the product's assets in the web UI."""
        return self.product.replace("-", "_")

    def asset_key(self, kind: str) -> list[str]:
        """The path of the asset of a kind, such as `raw_candles/ETH-EUR/15m`."""
        return [kind, self.product, self.granularity.value]

    def blob_folder(self, kind: str) -> str:
        """Where the blobs of a kind lie, Hive style."""
        return f"{kind}/product={self.product}/granularity={self.granularity}/"

    def blob_path(self, kind: str, partition: str) -> str:
        """The template of the blobs of a kind; `partition` names the path's last key."""
        return f"{self.blob_folder(kind)}{partition}={{partition}}/candles.parquet"
