"""Complete Coinbase candle history in your own Azure storage, collected by Dagster assets."""
