"""Which library a stored table came from, and which one an input's annotation asks for.

Never imports pandas or Polars, which take long to load: who names their classes has loaded them.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import pyarrow as pa

from coinbase_assets.storage.partition_tables import PartitionTables
from coinbase_assets.table_metadata import with_fields

# In the metadata of a Parquet file: the library whose table it was, unless that is pyarrow.
_LIBRARY = b"azure_parquet.library"
# The field of a blob that stands for an output that was None.
_NOTHING = "is_none"


class TableKind(Enum):
    """A class of tables: the module that has it, and its name there."""

    PANDAS = ("pandas", "DataFrame")
    POLARS = ("polars", "DataFrame")
    POLARS_LAZY = ("polars", "LazyFrame")
    READER = ("pyarrow", "RecordBatchReader")
    ARROW = ("pyarrow", "Table")

    def has(self, kind: Any) -> bool:
        """Return whether `kind` is the class, or derived from it."""
        module, name = self.value
        found = getattr(sys.modules.get(module), name, None)
        return found is not None and isinstance(kind, type) and issubclass(kind, found)


def kind_of_class(kind: Any) -> TableKind | None:
    """Return the kind of table that the class is; None for any other."""
    return next((each for each in TableKind if each.has(kind)), None)


@dataclass(frozen=True)
class InputType:
    """What an input's annotation asks for; `table` is None for the kind that was stored.

    `is_optional` says whether the input may be None, `holds_optional` whether a table may be.
    """

    table: TableKind | None
    container: type[PartitionTables] | type[dict] | None = None
    is_optional: bool = False
    holds_optional: bool = True

    @classmethod
    def of(cls, annotation: Any) -> "InputType":
        """Read an annotation such as `pd.DataFrame | None` or `Mapping[str, pa.Table]`."""
        parts = _members(annotation)
        is_optional = NoneType in parts
        for part in parts:
            if part is PartitionTables:
                return cls(TableKind.ARROW, PartitionTables, is_optional)
            if _is_mapping(part):
                value = cls.of((get_args(part) or (Any, Any))[1])
                return cls(value.table, dict, is_optional, value.holds_optional)
        table = next(filter(None, map(kind_of_class, parts)), None)
        return cls(table, None, is_optional, is_optional or table is None)


def allows_none(annotation: Any) -> bool:
    """Return whether `None` stands anywhere in the annotation."""
    return annotation in (None, NoneType) or any(map(allows_none, get_args(annotation)))


def marked(table: pa.Table, kind: TableKind) -> pa.Table:
    """Return the table with a mark of the library that it came from; none for pyarrow's own."""
    before = table.schema.metadata or {}
    metadata = {key: text for key, text in before.items() if key != _LIBRARY}
    if kind in (TableKind.PANDAS, TableKind.POLARS):
        metadata[_LIBRARY] = kind.value[0].encode()
    return table if metadata == before else table.replace_schema_metadata(metadata or None)


def stored_kind(table: pa.Table) -> TableKind:
    """Return the kind of table that was stored. Polars' is pyarrow's where Polars is not loaded."""
    match (table.schema.metadata or {}).get(_LIBRARY):
        case b"pandas":
            return TableKind.PANDAS
        case b"polars" if "polars" in sys.modules:
            return TableKind.POLARS
    return TableKind.ARROW


def nothing() -> pa.Table:
    """Return the table without columns that stands for None."""
    return with_fields(pa.table({}), {_NOTHING: "true"})


def is_nothing(fields: Mapping[str, str]) -> bool:
    """Return whether the fields are those of a table that stands for None."""
    return fields.get(_NOTHING) == "true"


def _members(annotation: Any) -> tuple[Any, ...]:
    is_union = get_origin(annotation) in (Union, UnionType)
    return get_args(annotation) if is_union else (annotation,)


def _is_mapping(kind: Any) -> bool:
    origin = get_origin(kind) or kind
    return isinstance(origin, type) and issubclass(origin, Mapping)
