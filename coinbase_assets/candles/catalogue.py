"""The columns of the tables about products: `products` and `listings`. Pure: no I/O."""

import pyarrow as pa

PRODUCT_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("base_currency", pa.string()),
        pa.field("quote_currency", pa.string()),
        pa.field("quote_increment", pa.string()),
        pa.field("base_increment", pa.string()),
        pa.field("display_name", pa.string()),
        pa.field("status", pa.string()),
        pa.field("trading_disabled", pa.bool_()),
    ]
)
LISTING_SCHEMA = pa.schema(
    [
        pa.field("first_day", pa.date32()),
        pa.field("last_day", pa.date32()),
        pa.field("asked_at", pa.timestamp("us", "UTC")),
        pa.field("closed_at", pa.timestamp("us", "UTC")),
    ]
)
