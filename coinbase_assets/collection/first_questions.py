"""What a collection asks first: its first series that lack something, as far as the lake knows."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from coinbase_assets.candles.calendar import DAY, adjoining, day_start
from coinbase_assets.candles.datasets import RAW_CANDLES
from coinbase_assets.candles.days import is_final
from coinbase_assets.candles.series import Series
from coinbase_assets.candles.windows import Question

if TYPE_CHECKING:
    from coinbase_assets.storage.parquet_store import ParquetStore

# More series would be listed in vain if all of their days are final.
_MOST_SERIES = 3


def first_questions(
    store: "ParquetStore", series: Sequence[Series], keys: Sequence[str], again: bool
) -> Iterator[Question]:
    """Yield the spans of days that a plain collection asks for; with `again`, all of the days.

    Raises StorageError.
    """
    now = datetime.now(UTC)
    for each in series[:_MOST_SERIES]:
        stored = {} if again else store.find_partitions(RAW_CANDLES.path(each), keys)
        done = {key for key, blob in stored.items() if is_final(key, blob.fields, now)}
        due = [key for key in keys if key not in done]
        for days in adjoining(due, len(due)):
            yield each, day_start(days[0]), day_start(days[-1]) + DAY
