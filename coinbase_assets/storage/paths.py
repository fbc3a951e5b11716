"""The paths of the blobs of assets and of ops' outputs in the container."""

from collections.abc import Mapping, Sequence
from string import Formatter
from typing import Any
from urllib.parse import quote

import dagster as dg

from coinbase_assets.storage.errors import StorageError

# The key of an asset's definition metadata that holds the template of its blobs' paths, for example
# `prices/date={partition}/prices.parquet`. The template of a multi-partitioned asset may name the
# dimensions instead of `{partition}`.
PATH_METADATA = "blob_path"

UNPARTITIONED = ""
_FILE = "data.parquet"
# The folder of outputs that belong to no asset.
_OP_OUTPUTS = "op_outputs"
# Azure's limit of a blob's name, in characters.
_LONGEST = 1024


def blob_path(
    asset_key: dg.AssetKey, metadata: Mapping[str, Any], partition: str, prefix: str = ""
) -> str:
    """Return the path of a partition's blob, or of the whole asset's for the key UNPARTITIONED.

    Partition keys are percent-encoded, so that no two keys have the same path, and readers of
    Hive-style folders find the keys. Raises StorageError if the template would give several
    partitions the same path, or if the path is longer than Azure allows.
    """
    dimensions = _dimensions(partition)
    template = metadata.get(PATH_METADATA)
    if template:
        path = _filled(str(template), asset_key, partition, dimensions)
    else:
        path = _default_path(asset_key, dimensions)
    return _below(prefix, path, asset_key.to_user_string())


def op_output_path(identifier: Sequence[str], prefix: str = "") -> str:
    """Return the path of an op's output, whose identifier is run, step, name and mapping key."""
    path = "/".join([_OP_OUTPUTS, *map(quoted, identifier), _FILE])
    return _below(prefix, path, ".".join(identifier[1:]))


def quoted(key: str) -> str:
    """Return the key percent-encoded, with the dots at its end, which Azure would drop."""
    text = quote(key, safe="", errors="surrogatepass")
    bare = text.rstrip(".")
    return bare + "%2E" * (len(text) - len(bare))


def _dimensions(partition: str) -> Mapping[str, str]:
    if partition == UNPARTITIONED:
        return {}
    if isinstance(partition, dg.MultiPartitionKey):
        return partition.keys_by_dimension
    return {"partition": partition}


def _default_path(asset_key: dg.AssetKey, dimensions: Mapping[str, str]) -> str:
    # An asset's key may have Hive-style parts of its own.
    folders = [quoted(part).replace("%3D", "=") for part in asset_key.path]
    partitions = [f"{quoted(name)}={quoted(key)}" for name, key in dimensions.items()]
    return "/".join([*folders, *partitions, _FILE])


def _filled(
    template: str, asset_key: dg.AssetKey, partition: str, dimensions: Mapping[str, str]
) -> str:
    values = {"partition": partition, **dimensions} if dimensions else {}
    parts = [(literal, name) for literal, name, _, _ in Formatter().parse(template)]
    named = {name for _, name in parts if name is not None}
    if not named <= values.keys() or not ("partition" in named or named >= dimensions.keys()):
        raise StorageError(
            f"{asset_key.to_user_string()}: the template {PATH_METADATA}={template!r} must have"
            f" exactly these placeholders:"
            f" {' '.join(f'{{{name}}}' for name in dimensions) or 'none'}"
        )
    return "".join(
        literal + (quoted(values[name]) if name is not None else "") for literal, name in parts
    )


def _below(prefix: str, path: str, named: str) -> str:
    full = f"{prefix.strip('/')}/{path}" if prefix.strip("/") else path
    if len(full) > _LONGEST:
        raise StorageError(
            f"{named}: the path {full[:100]}... has {len(full):,} characters, but Azure's names may"
            f" have {_LONGEST:,}; use shorter partition keys"
        )
    return full
