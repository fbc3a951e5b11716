"""Tables stored in Azure Blob Storage as Parquet. Nothing here knows about candles."""
