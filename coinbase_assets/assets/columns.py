"""The candle table's columns as Dagster shows them."""

import dagster as dg

from coinbase_assets.candles import COLUMN_DESCRIPTIONS, SCHEMA

CANDLE_METADATA = {
    "dagster/column_schema": dg.TableSchema(
        columns=[
            dg.TableColumn(
                field.name,
                str(field.type),
                description=COLUMN_DESCRIPTIONS[field.name],
                constraints=dg.TableColumnConstraints(nullable=False, unique=field.name == "time"),
            )
            for field in SCHEMA
        ]
    )
}
