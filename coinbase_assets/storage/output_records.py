"""What Dagster records of the outputs that are stored."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg
import pyarrow as pa

from coinbase_assets.dagster_instance.unfinished_outputs import record_at_once
from coinbase_assets.storage.blob_metadata import blob_metadata
from coinbase_assets.storage.declared_columns import COLUMNS_METADATA
from coinbase_assets.storage.stored_blob import StoredBlob

# The types of a very wide table are left out: Dagster keeps them with each materialisation.
_MOST_COLUMNS = 200


@dataclass(frozen=True)
class StoredOutput:
    """A blob, its URI, and the schema that this output gave it; None if another writer did."""

    blob: StoredBlob
    uri: str
    schema: pa.Schema | None


def record(context: dg.OutputContext, stored: Mapping[str, StoredOutput]) -> None:
    """Add metadata that Dagster records with the output, for each partition of an asset."""
    for key, output in stored.items():
        metadata = _metadata(context, output)
        if context.has_asset_key:
            context.step_context.add_asset_metadata(metadata, context.asset_key, key or None)
        else:
            context.add_output_metadata(metadata)


def record_unfinished(context: dg.OutputContext, stored: Mapping[str, StoredOutput]) -> None:
    """Record what is stored already, since Dagster records nothing of an unfinished output."""
    if not context.has_asset_key:
        return
    materializations = [
        dg.AssetMaterialization(
            context.asset_key, partition=key or None, metadata=_metadata(context, output)
        )
        for key, output in sorted(stored.items())
    ]
    record_at_once(context, materializations)


def _metadata(context: dg.OutputContext, output: StoredOutput) -> dict[str, Any]:
    """Return the blob's metadata, and its columns, unless the asset declares its own."""
    metadata: dict[str, Any] = dict(blob_metadata(output.uri, output.blob))
    is_declared = COLUMNS_METADATA in context.definition_metadata
    if output.schema is None or is_declared or not 0 < len(output.schema) <= _MOST_COLUMNS:
        return metadata
    columns = [dg.TableColumn(field.name, str(field.type)) for field in output.schema]
    return {**metadata, COLUMNS_METADATA: dg.TableSchema(columns)}
