"""Where an output is stored, or an input found, and what its errors call it."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from coinbase_assets.storage.errors import StorageError
from coinbase_assets.storage.paths import UNPARTITIONED, blob_path, op_output_path


def name_of(context: dg.OutputContext | dg.InputContext) -> str:
    """Return the asset's key as text; of an op, the step and the name of its output or input."""
    if context.has_asset_key:
        return context.asset_key.to_user_string()
    if isinstance(context, dg.InputContext):
        return f"{context.op_def.name}.{context.name}"
    return f"{context.step_key}.{context.name}"


def output_paths(context: dg.OutputContext, prefix: str) -> dict[str, str]:
    """Return the paths of the run's partitions by key, UNPARTITIONED for all other outputs."""
    if not context.has_asset_key:
        return {UNPARTITIONED: op_output_path(context.get_identifier(), prefix)}
    return _asset_paths(context, context.definition_metadata, prefix)


def input_paths(
    context: dg.InputContext, upstream: Mapping[str, Any], prefix: str
) -> dict[str, str]:
    """Return the same of an input; `upstream` is the definition metadata of what it loads."""
    if context.has_asset_key:
        return _asset_paths(context, upstream, prefix)
    if context.upstream_output is None:
        raise StorageError(f"{name_of(context)}: no output and no asset is given for this input")
    return {UNPARTITIONED: op_output_path(context.upstream_output.get_identifier(), prefix)}


def _asset_paths(
    context: dg.OutputContext | dg.InputContext, metadata: Mapping[str, Any], prefix: str
) -> dict[str, str]:
    keys = context.asset_partition_keys if context.has_asset_partitions else [UNPARTITIONED]
    if context.has_asset_partitions and UNPARTITIONED in keys:
        raise StorageError(f"{name_of(context)}: a partition key is empty; give it a name")
    return {key: blob_path(context.asset_key, metadata, key, prefix) for key in keys}
