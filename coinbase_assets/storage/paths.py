"""The paths of an asset's blobs in the container."""

from collections.abc import Mapping, Sequence
from string import Formatter
from typing import Any

import dagster as dg

from coinbase_assets.storage.errors import StorageError

# The key of an asset's definition metadata that holds the template of its blobs' paths, for example
# `prices/date={partition}/prices.parquet`. The template of a multi-partitioned asset may name the
# dimensions instead of `{partition}`.
PATH_METADATA = "blob_path"

UNPARTITIONED = ""


def blob_path(asset_key: dg.AssetKey, metadata: Mapping[str, Any], partition: str) -> str:
    """Return the path of a partition's blob, or of the whole asset's for the key UNPARTITIONED.

    Raises StorageError if the template would give several partitions the same path.
    """
    dimensions = _dimensions(partition)
    template = metadata.get(PATH_METADATA) or _default_template(asset_key, list(dimensions))
    values = {"partition": partition, **dimensions} if dimensions else {}
    named = {name for _, name, _, _ in Formatter().parse(template) if name is not None}
    if not named <= values.keys() or not ("partition" in named or named >= dimensions.keys()):
        raise StorageError(
            f"{asset_key.to_user_string()}: the template {PATH_METADATA}={template!r} must have"
            f" exactly these placeholders:"
            f" {' '.join(f'{{{name}}}' for name in dimensions) or 'none'}"
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
