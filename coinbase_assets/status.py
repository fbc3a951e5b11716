"""What is in the lake, told by the blobs' own metadata: nothing is read, nobody is asked."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from coinbase_assets.assets import candle_history, raw_candles
from coinbase_assets.series import Series
from coinbase_assets.storage.parquet_store import ParquetStore, StoredBlob


@dataclass(frozen=True)
class SeriesStatus:
    """A series' history: its candles, first and last (bucket starts, UTC), and its partitions."""

    series: Series
    candles: int
    first_candle: datetime | None
    last_candle: datetime | None
    days: int
    months: int

    def age(self, now: datetime) -> timedelta | None:
        """Time since the newest candle's bucket ended; None where there is no candle."""
        if self.last_candle is None:
            return None
        return now - self.last_candle - self.series.granularity.delta


def series_status(store: ParquetStore, series: Series) -> SeriesStatus:
    """Raises StorageError."""
    months = _blobs(store, series, candle_history.KIND)
    return SeriesStatus(
        series,
        sum(int(blob.fields["rows"]) for blob in months),
        min(_times(months, "first_candle"), default=None),
        max(_times(months, "last_candle"), default=None),
        len(_blobs(store, series, raw_candles.KIND)),
        len(months),
    )


def _blobs(store: ParquetStore, series: Series, kind: str) -> list[StoredBlob]:
    return list(store.list(series.blob_folder(kind)).values())


def _times(blobs: Iterable[StoredBlob], field: str) -> list[datetime]:
    return [datetime.fromisoformat(blob.fields[field]) for blob in blobs if field in blob.fields]
