"""What the lake holds of each series, from its listings alone."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from coinbase_assets.candles.calendar import DAY, day_start, days_between
from coinbase_assets.candles.datasets import (
    CANDLE_COVERAGE,
    CANDLE_HISTORY,
    CANDLE_ROLLUP,
    RAW_CANDLES,
    Dataset,
    place_of,
)
from coinbase_assets.candles.series import CandleSeries
from coinbase_assets.storage.stored_blob import StoredBlob

if TYPE_CHECKING:
    from coinbase_assets.storage.parquet_store import ParquetStore

_OF_CANDLES = (CANDLE_HISTORY, CANDLE_ROLLUP)
_Stored = dict[Dataset, dict[str, StoredBlob]]


@dataclass(frozen=True)
class Holding:
    """What is stored of a series.

    `candles`, `first_candle` and `last_candle` (starts of buckets) describe its history, or its
    rollup. `missing_days` are those between the first and the last collected day that were not
    collected. `size` is that of its files, in bytes.
    """

    series: CandleSeries
    candles: int
    first_candle: datetime | None
    last_candle: datetime | None
    missing_days: Sequence[str]
    size: int

    def age(self, now: datetime) -> timedelta | None:
        """Return the time since the newest candle's bucket ended; None without candles."""
        if self.last_candle is None:
            return None
        return max(now - self.last_candle - self.series.granularity.delta, timedelta(0))

    def __repr__(self) -> str:
        span = ""
        if self.first_candle and self.last_candle:
            span = f", {self.first_candle:%F} to {self.last_candle:%F}"
        count = len(self.missing_days)
        missing = f", {count} day{'s' if count > 1 else ''} missing" if count else ""
        size = f"{self.size / 1e6:,.1f} MB"
        return f"<{self.series}: {self.candles:,} candles{span}{missing}, {size}>"


def stored_holdings(store: "ParquetStore") -> list[Holding]:
    """Return what the store holds of each series, by product and length. Raises StorageError."""
    found = defaultdict[CandleSeries, _Stored](lambda: defaultdict(dict))
    for dataset in (RAW_CANDLES, CANDLE_COVERAGE, *_OF_CANDLES):
        for path, blob in store.list(dataset.folder()).items():
            if (place := place_of(path)) and place.series:
                found[place.series][dataset][place.key] = blob
    ordered = sorted(found, key=lambda each: (each.product, each.granularity.seconds))
    return [_holding(series, found[series]) for series in ordered]


def _holding(series: CandleSeries, stored: _Stored) -> Holding:
    # Where both have a month, readers take the candles of the history.
    months = {**stored[CANDLE_ROLLUP], **stored[CANDLE_HISTORY]}.values()
    days = stored[RAW_CANDLES]
    return Holding(
        series,
        sum(int(month.fields["rows"]) for month in months),
        min(_times(months, "first_candle"), default=None),
        max(_times(months, "last_candle"), default=None),
        _days_between(days),
        sum(blob.size for blobs in stored.values() for blob in blobs.values()),
    )


def _times(months: Iterable[StoredBlob], field: str) -> Sequence[datetime]:
    texts = (month.fields.get(field) for month in months)
    return [datetime.fromisoformat(text) for text in texts if text]


def _days_between(days: Collection[str]) -> Sequence[str]:
    """Return the days between the first and the last that are not among them."""
    if not days:
        return []
    between = days_between(day_start(min(days)), day_start(max(days)) + DAY)
    return [day for day in between if day not in days]
