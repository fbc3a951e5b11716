"""The types of outputs and inputs: data frames, tables and mappings of them."""

import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, get_origin

import dagster as dg
import pyarrow as pa

from coinbase_assets.storage.errors import PartitionMissing, StorageError
from coinbase_assets.storage.partition_tables import PartitionTables
from coinbase_assets.table_metadata import with_fields

if TYPE_CHECKING:
    import pandas as pd


def output_partitions(obj: object, keys: list[str]) -> Iterator[tuple[str, object]]:
    """Yield the output's keys and tables. Raises StorageError if the keys are not the run's."""
    if isinstance(obj, Mapping):
        pairs = iter(obj.items())
    elif isinstance(obj, Iterator):
        pairs = obj
    elif len(keys) == 1:
        pairs = iter([(keys[0], obj)])
    else:
        raise StorageError(
            f"the output of {len(keys)} partitions is a {type(obj).__name__};"
            " return a mapping or an iterator of (partition key, table) pairs"
        )
    open_keys = set(keys)
    for key, value in pairs:
        if key not in open_keys:
            raise StorageError(
                f"the output's partition {key!r} is repeated, or not among the run's: {keys}"
            )
        open_keys.remove(key)
        yield key, value
    if open_keys:
        raise StorageError(f"the output has no table for {sorted(map(str, open_keys))}")


def output_table(value: object, context: dg.OutputContext) -> pa.Table:
    """Return the value as a table, with the output metadata's version, if there is one."""
    if is_data_frame(type(value)):
        value = pa.Table.from_pandas(value, preserve_index=False)
    if not isinstance(value, pa.Table):
        raise StorageError(
            f"{context.asset_key.to_user_string()}: cannot store a {type(value).__name__};"
            " return a pandas DataFrame or a pyarrow Table"
        )
    version = (context.output_metadata or {}).get("version")
    return value if version is None else with_fields(value, {"version": str(version.value)})


def joined_tables(
    partitions: PartitionTables, context: dg.InputContext
) -> "pd.DataFrame | pa.Table":
    """Return the rows of all partitions, in order. Raises PartitionMissing if there are none."""
    tables = list(partitions.values())
    if not tables:
        raise PartitionMissing(f"{context.asset_key.to_user_string()}: no partition is stored")
    if len(tables) == 1:
        return tables[0]
    if is_data_frame(type(tables[0])):
        import pandas as pd

        return pd.concat(tables, ignore_index=True)
    bare = [table.replace_schema_metadata(None) for table in tables]
    return pa.concat_tables(bare, promote_options="permissive")


def is_mapping(wanted: Any) -> bool:
    """Whether `wanted` is a Mapping with type parameters, such as `dict[str, pa.Table]`."""
    origin = get_origin(wanted)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def is_data_frame(wanted: Any) -> bool:
    """Whether `wanted` is pandas' DataFrame. Never imports pandas, which takes long to load."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(wanted, type) and issubclass(wanted, pandas.DataFrame)
