"""Rules about the tables at certain paths, with which a ParquetStore notices what is damaged."""

from collections.abc import Mapping
from typing import Protocol

import pyarrow as pa


class BlobRules(Protocol):
    """What the tables of a lake hold at which paths."""

    def seal(self, path: str, table: pa.Table) -> pa.Table:
        """Return the table with the fields by which `find_damage` recognises it."""

    def is_of_lake(self, path: str) -> bool:
        """Return whether the table at the path names its lake."""

    def may_describe(self, path: str, fields: Mapping[str, str]) -> bool:
        """Return whether these fields can be those of the table at the path."""

    def find_damage(self, path: str, table: pa.Table) -> str:
        """Return why this is not the table that belongs at the path; "" if it is."""


class AnyTable:
    """The rules of a store that may hold any table at any path."""

    def seal(self, path: str, table: pa.Table) -> pa.Table:
        return table

    def is_of_lake(self, path: str) -> bool:
        return False

    def may_describe(self, path: str, fields: Mapping[str, str]) -> bool:
        return True

    def find_damage(self, path: str, table: pa.Table) -> str:
        return ""
