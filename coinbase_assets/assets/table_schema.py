"""The columns of tables, as the web UI shows them."""

from collections.abc import Mapping

import dagster as dg
import pyarrow as pa

from coinbase_assets.candles.table import COLUMN_DESCRIPTIONS, SCHEMA


def column_metadata(
    schema: pa.Schema, descriptions: Mapping[str, str], unique: str
) -> Mapping[str, dg.TableSchema]:
    """Return the definition metadata that declares a table's columns.

    `descriptions` has a text per column. No value repeats in the column named `unique`.
    """
    columns = [
        dg.TableColumn(
            field.name,
            str(field.type),
            description=descriptions[field.name],
            constraints=dg.TableColumnConstraints(
                nullable=field.nullable, unique=field.name == unique
            ),
        )
        for field in schema
    ]
    return {"dagster/column_schema": dg.TableSchema(columns=columns)}


CANDLE_METADATA = column_metadata(SCHEMA, COLUMN_DESCRIPTIONS, unique="time")
