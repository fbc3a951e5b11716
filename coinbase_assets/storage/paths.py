"""Where an asset's partitions lie in the container."""

from collections.abc import Mapping, Sequence
from string import Formatter
from typing import Any

import dagster as dg

from coinbase_assets.storage.errors import StorageError

# Definition metadata of an asset: a template such as `prices/date={partition}/prices.parquet`,
# with `{partition}`, or the names of the dimensions of a multi-partitioned asset.
PATH_METADATA = "blob_path"

UNPARTITIONED = ""


def blob_path(asset_key: dg.AssetKey, metadata: Mapping[str, Any], partition: str) -> str:
    """The blob of a partition, or of the whole asset for the key UNPARTITIONED.

    Raises StorageError for a template that does not tell the partitions apart.
    """
    dimensions = _dimensions(partition)
    template = metadata.get(PATH_METADATA) or _default_template(asset_key, list(dimensions))
    values = {"partition": partition, **dimensions} if dimensions else {}
    named = {name for _, name, _, _ in Formatter().parse(template) if name is not None}
    if not named <= values.keys() or not ("partition" in named or named >= dimensions.keys()):
        raise StorageError(
            f"{asset_key.to_user_string()}: {PATH_METADATA} {template!r} must name"
            f" {' '.join(f'{{{name}}}' for name in dimensions) or 'no partition'}"
        )
    return template.format(**values)


def _dimensions(partition: str) -> Mapping[str, str]:
    if partition == UNPARTITIONED:
        return {}
    if isinstance(partition, dg.MultiPartitionKey):
        return partition.keys_by_dimension
    return {"partition": partition}


def _default_template(asset_key: dg.AssetKey, dimensions: Sequence[str]) -> str:
    folders = [*asset_key.path, *(f"{name}={{{name}}}" for name in dimensions)]
    return "/".join([*folders, "data.parquet"])
