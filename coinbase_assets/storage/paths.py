"""Where an asset's partitions lie in the container."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from coinbase_assets.storage.errors import StorageError

# Definition metadata of an asset: a template such as `prices/date={partition}/prices.parquet`,
# with `{partition}`, or the names of the dimensions of a multi-partitioned asset.
PATH_METADATA = "blob_path"

UNPARTITIONED = ""


def blob_path(asset_key: dg.AssetKey, metadata: Mapping[str, Any], partition: str) -> str:
    """The blob of a partition, or of the whole asset for the key UNPARTITIONED."""
    dimensions = _dimensions(partition)
    template = metadata.get(PATH_METADATA) or _default_template(asset_key, list(dimensions))
    try:
        return template.format(**{"partition": partition, **dimensions})
    except KeyError as error:
        raise StorageError(
            f"{asset_key.to_user_string()}: {PATH_METADATA} {template!r} names {error},"
            f" which its partitions do not have: {', '.join(dimensions) or 'there are none'}"
        ) from None


def _dimensions(partition: str) -> Mapping[str, str]:
    if partition == UNPARTITIONED:
        return {}
    if isinstance(partition, dg.MultiPartitionKey):
        return partition.keys_by_dimension
    return {"partition": partition}


def _default_template(asset_key: dg.AssetKey, dimensions: Sequence[str]) -> str:
    folders = [*asset_key.path, *(f"{name}={{{name}}}" for name in dimensions)]
    return "/".join([*folders, "data.parquet"])
