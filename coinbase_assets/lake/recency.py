"""How recent a series is, from the metadata of its newest blobs."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from coinbase_assets.candles.calendar import month_of
from coinbase_assets.candles.datasets import CANDLE_COVERAGE, RAW_CANDLES, Dataset
from coinbase_assets.candles.metadata_keys import USUAL_PAUSE
from coinbase_assets.candles.series import Series
from coinbase_assets.lake.stock import Blobs, stored_partitions
from coinbase_assets.storage.stored_blob import StoredBlob

if TYPE_CHECKING:
    from coinbase_assets.storage.parquet_store import ParquetStore


@dataclass(frozen=True)
class Recency:
    """How recent a series is.

    `answered_through` is the time up to which the exchange has answered. `last_candle_end` is the
    end of the newest candle's bucket. Both are None if nothing is collected. `usual_pause` is the
    longest time without candles that is usual in this series.
    """

    answered_through: datetime | None
    last_candle_end: datetime | None
    usual_pause: timedelta


def read_recency(store: "ParquetStore", series: Series, now: datetime) -> Recency:
    """Return the recency in the blobs of the newest month. Raises StorageError."""

    def newest(dataset: Dataset) -> Blobs:
        for within in (*_newest_months(now), ""):
            if blobs := stored_partitions(store, dataset, series, within):
                return blobs
        return {}

    return _recency(series, newest(RAW_CANDLES), newest(CANDLE_COVERAGE))


def recency_of(series: Series, days: Blobs, ledgers: Blobs, now: datetime) -> Recency:
    """Return the same, from all of the series' days and ledgers, by their keys."""
    return _recency(series, _newest(days, now), _newest(ledgers, now))


def _newest(blobs: Blobs, now: datetime) -> Blobs:
    """Return the blobs of this month, else of the month before, else all of them."""
    for month in _newest_months(now):
        if found := {key: blob for key, blob in blobs.items() if month_of(key) == month}:
            return found
    return blobs


def _newest_months(now: datetime) -> tuple[str, str]:
    return f"{now:%Y-%m}", f"{now.replace(day=1) - timedelta(days=1):%Y-%m}"


def _recency(series: Series, days: Blobs, ledgers: Blobs) -> Recency:
    last = max(_times(days.values(), "last_candle"), default=None)
    pauses = [float(blob.fields.get(USUAL_PAUSE, 0)) for blob in ledgers.values()]
    return Recency(
        max(_times(days.values(), "answered_through"), default=None),
        last and last + series.granularity.delta,
        timedelta(seconds=max(pauses, default=0)),
    )


def _times(blobs: Iterable[StoredBlob], field: str) -> list[datetime]:
    found = (blob.fields.get(field) for blob in blobs)
    return [datetime.fromisoformat(text) for text in found if text]
