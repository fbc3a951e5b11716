"""The partitions of an asset as a mapping that downloads a table when it is accessed."""

from collections.abc import Callable, Collection, ItemsView, Iterator, Mapping, ValuesView
from typing import Any

from coinbase_assets.storage.concurrency import map_concurrently
from coinbase_assets.storage.stored_blob import StoredBlob


class PartitionTables(Mapping[str, Any]):
    """A mapping of partition keys to tables, in partition order.

    `items()` and `values()` download a few partitions ahead and keep none, so that a range of any
    length needs the memory of a few partitions. `blobs` holds what the listing says about each
    partition; reading it downloads nothing.
    """

    def __init__(self, blobs: Mapping[str, StoredBlob], load: Callable[[str], Any]) -> None:
        self.blobs = blobs
        self._load = load

    def only(self, keys: Collection[str]) -> "PartitionTables":
        """Return the partitions whose keys are in `keys`."""
        return PartitionTables(
            {key: self.blobs[key] for key in self.blobs if key in keys}, self._load
        )

    def __getitem__(self, key: str) -> Any:
        if key not in self.blobs:
            raise KeyError(key)
        return self._load(key)

    def __contains__(self, key: object) -> bool:
        return key in self.blobs

    def __iter__(self) -> Iterator[str]:
        return iter(self.blobs)

    def __len__(self) -> int:
        return len(self.blobs)

    def items(self) -> ItemsView[str, Any]:
        return _Items(self)

    def values(self) -> ValuesView[Any]:
        return _Values(self)

    def stream(self) -> Iterator[tuple[str, Any]]:
        """Yield each key and its table, downloading a few ahead."""
        return map_concurrently(lambda key: (key, self._load(key)), self.blobs)


class _Items(ItemsView[str, Any]):
    _mapping: PartitionTables

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return self._mapping.stream()


class _Values(ValuesView[Any]):
    _mapping: PartitionTables

    def __iter__(self) -> Iterator[Any]:
        return (table for _, table in self._mapping.stream())
