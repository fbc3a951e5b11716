"""Fields: named texts about a table, kept in its schema metadata. Pure: no I/O."""

from collections.abc import Mapping

import pyarrow as pa

NAMESPACE = "coinbase_assets."


def table_fields(table: pa.Table) -> dict[str, str]:
    """Return the fields of the table, by their names."""
    metadata = table.schema.metadata or {}
    return {
        key.decode().removeprefix(NAMESPACE): value.decode()
        for key, value in metadata.items()
        if key.decode().startswith(NAMESPACE)
    }


def with_fields(table: pa.Table, fields: Mapping[str, str]) -> pa.Table:
    """Return the table with these fields added or replaced."""
    named = {f"{NAMESPACE}{name}".encode(): text.encode() for name, text in fields.items()}
    return table.replace_schema_metadata({**(table.schema.metadata or {}), **named})
