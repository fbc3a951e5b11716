"""Checks of tables against the columns that their asset declares.

An asset declares its columns in its definition metadata, as `dagster/column_schema`. An asset that
declares none may store and load any table.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import pyarrow as pa

from coinbase_assets.storage.errors import BlobDamaged
from coinbase_assets.storage.pandas_tables import without_unnamed_index

COLUMNS_METADATA = "dagster/column_schema"


def check_output_columns(path: str, schema: pa.Schema, metadata: Mapping[str, Any]) -> None:
    """Raise BlobDamaged unless the schema has the declared columns, all of them, in their order."""
    declared, actual = _declared(metadata), _types(without_unnamed_index(schema))
    if declared and list(actual.items()) != list(_expected(declared).items()):
        raise BlobDamaged(
            f"{path}: the table to store has the columns {actual}, but the asset's declared columns"
            f" are {_expected(declared)}; return those"
        )


def check_input_columns(
    uri: str,
    schema: pa.Schema,
    metadata: Mapping[str, Any],
    columns: Sequence[str] | None = None,
) -> None:
    """Raise BlobDamaged unless the stored table has the declared columns, in their order.

    With `columns`, the table must have those instead. Nullable columns may be missing: an earlier
    version, which did not know them, may have stored the table.
    """
    declared, actual = _declared(metadata), _types(without_unnamed_index(schema))
    if not declared:
        return
    expected = _expected(declared)
    if columns is not None:
        expected = {name: expected.get(name, "not declared") for name in columns}
        actual = {name: kind for name, kind in actual.items() if name in expected}
    missing = optional_columns(metadata) - actual.keys()
    required = [(name, kind) for name, kind in expected.items() if name not in missing]
    if list(actual.items()) != required:
        raise BlobDamaged(
            f"{uri}: the blob has the columns {actual}, but the declared columns are {expected};"
            " if another version of this project wrote it, materialise the partition again"
        )


def optional_columns(metadata: Mapping[str, Any]) -> set[str]:
    """Return the declared columns that are nullable, which a stored table may lack."""
    return {column.name for column in _declared(metadata) if column.constraints.nullable}


def _declared(metadata: Mapping[str, Any]) -> Sequence[dg.TableColumn]:
    schema = metadata.get(COLUMNS_METADATA)
    if isinstance(schema, dg.TableSchemaMetadataValue):
        schema = schema.schema
    # A text describes the columns to people only.
    return schema.columns if isinstance(schema, dg.TableSchema) else ()


def _expected(declared: Sequence[dg.TableColumn]) -> dict[str, str]:
    return {column.name: column.type for column in declared}


def _types(schema: pa.Schema) -> dict[str, str]:
    return {field.name: str(field.type) for field in schema}
