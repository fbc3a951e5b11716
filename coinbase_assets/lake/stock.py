"""The blobs of a dataset of a series: which belong there, which are damaged, which are foreign."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from functools import cached_property
from typing import TYPE_CHECKING

from coinbase_assets.candles.calendar import DAY
from coinbase_assets.candles.datasets import Dataset, place_of
from coinbase_assets.candles.series import CandleSeries
from coinbase_assets.storage.stored_blob import StoredBlob

if TYPE_CHECKING:
    from coinbase_assets.storage.parquet_store import ParquetStore

Blobs = Mapping[str, StoredBlob]


class _Kind(Enum):
    """INTACT: what its path says. DAMAGED: counts as missing. FOREIGN: not of the lake.

    DOUBLED: a Parquet file beside the partition's own; readers of a whole folder count it, too.
    """

    INTACT = auto()
    DAMAGED = auto()
    FOREIGN = auto()
    DOUBLED = auto()


@dataclass(frozen=True)
class Stock:
    """The blobs of one dataset of a series, ascending: intact ones by key, others by path."""

    intact: Mapping[str, Sequence[StoredBlob]]
    damaged: Blobs
    foreign: Sequence[str]
    doubled: Sequence[str]

    @cached_property
    def by_key(self) -> Blobs:
        return {key: blobs[0] for key, blobs in self.intact.items()}

    @property
    def blobs(self) -> Sequence[StoredBlob]:
        return [blob for blobs in self.intact.values() for blob in blobs]


def take_stock(
    store: "ParquetStore", dataset: Dataset, series: CandleSeries, within: str = ""
) -> Stock:
    """List a dataset of a series, or its partitions whose keys begin with `within`.

    Partitions of times to come are foreign. Raises StorageError.
    """
    folder = dataset.folder(series)
    prefix = f"{folder}{dataset.partition}={within}" if within else folder.rstrip("/")
    found = store.survey(prefix)
    kinds = {path: _kind(blob, dataset, series) for path, blob in found.items()}
    intact = defaultdict[str, list[StoredBlob]](list)
    for path, blob in found.items():
        if kinds[path] == _Kind.INTACT and (place := place_of(path)):
            intact[place.key].append(blob)
    return Stock(
        intact,
        {path: blob for path, blob in found.items() if kinds[path] == _Kind.DAMAGED},
        [path for path, kind in kinds.items() if kind == _Kind.FOREIGN],
        [path for path, kind in kinds.items() if kind == _Kind.DOUBLED],
    )


def _kind(blob: StoredBlob, dataset: Dataset, series: CandleSeries) -> _Kind:
    place = place_of(blob.path)
    if not place:
        beside = place_of(f"{blob.path.rpartition('/')[0]}/{dataset.file}")
        is_table = blob.path.endswith(".parquet")
        return _Kind.DOUBLED if beside and is_table else _Kind.FOREIGN
    if str(place.series) != str(series) or place.key > f"{datetime.now(UTC) + DAY:%F}":
        return _Kind.FOREIGN
    return _Kind.DAMAGED if blob.damage else _Kind.INTACT


def stored_partitions(
    store: "ParquetStore", dataset: Dataset, series: CandleSeries, within: str = ""
) -> Blobs:
    """Return the intact blobs of a dataset of a series by key, ascending. Raises StorageError."""
    return take_stock(store, dataset, series, within).by_key
