"""Keeping tables in Azure Blob Storage as Parquet. Knows no candles."""
