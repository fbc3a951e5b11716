"""Reading the lake: candles, status, exports, SQL and pictures. Nothing here needs Dagster."""
