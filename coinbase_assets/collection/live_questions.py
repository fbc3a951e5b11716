"""The questions of a live run, asked at its first step for all of its series.

Otherwise each series would wait for its answer while no other request is under way.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from coinbase_assets.candles.calendar import DAY, day_start
from coinbase_assets.candles.datasets import RAW_CANDLES
from coinbase_assets.candles.series import Series
from coinbase_assets.candles.windows import MAX_CANDLES, Question
from coinbase_assets.collection.day_updates import DaysToCollect
from coinbase_assets.storage.concurrency import map_concurrently
from coinbase_assets.storage.stored_blob import StoredBlob

if TYPE_CHECKING:
    from coinbase_assets.storage.parquet_store import ParquetStore


def live_days(
    series: Series, keys: Sequence[str], stored: Mapping[str, StoredBlob]
) -> DaysToCollect:
    """Return the days of a live run, from the exchange's last answer on. Complete days are kept."""
    since = {key: _answered_through(blob) for key, blob in stored.items()}
    kept = {key for key, through in since.items() if through >= day_start(key) + DAY}
    return DaysToCollect(series, keys, stored, kept, since, live=True)


def live_questions(
    store: "ParquetStore", series: Iterable[Series], keys: Sequence[str]
) -> Iterator[Question]:
    """Yield the live questions of the series that one request answers, in this order.

    Others are left to the steps of the run, so that some are done before the run may be ended.
    Raises StorageError.
    """

    def days(each: Series) -> DaysToCollect:
        return live_days(each, keys, store.find_partitions(RAW_CANDLES.path(each), keys))

    now = datetime.now(UTC)
    for found in map_concurrently(days, series):
        for start, end in found.spans:
            if min(now, end) - start < MAX_CANDLES * found.series.granularity.delta:
                yield found.series, start, end


def _answered_through(blob: StoredBlob) -> datetime:
    return datetime.fromisoformat(blob.fields["answered_through"])
