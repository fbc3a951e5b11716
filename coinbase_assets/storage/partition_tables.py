"""The partitions of an asset as a mapping whose tables are downloaded when they are looked at."""

from collections.abc import Callable, ItemsView, Iterator, Mapping, ValuesView
from typing import Any

from coinbase_assets.storage.read_ahead import read_ahead


class PartitionTables(Mapping[str, Any]):
    """Partition key to table, in partition order.

    `items()` and `values()` download ahead, several at a time, and keep nothing: a range of any
    length costs the memory of a few partitions.
    """

    def __init__(self, keys: list[str], load: Callable[[str], Any]) -> None:
        self._keys = dict.fromkeys(keys)
        self._load = load

    def __getitem__(self, key: str) -> Any:
        if key not in self._keys:
            raise KeyError(key)
        return self._load(key)

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def items(self) -> ItemsView[str, Any]:
        return _Items(self)

    def values(self) -> ValuesView[Any]:
        return _Values(self)

    def stream(self) -> Iterator[tuple[str, Any]]:
        return read_ahead(lambda key: (key, self._load(key)), self._keys)


class _Items(ItemsView[str, Any]):
    _mapping: PartitionTables

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return self._mapping.stream()


class _Values(ValuesView[Any]):
    _mapping: PartitionTables

    def __iter__(self) -> Iterator[Any]:
        return (table for _, table in self._mapping.stream())
