"""Collecting days, run by Dagster against the stand-in exchange and Azurite."""

import dagster as dg

from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.exchange import StandInExchange
from coinbase_assets_tests.running import collect_raw, partition_metadata, settings_for


def test_a_range_run_asks_in_windows_that_run_across_days(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    with StandInExchange(rate=None) as exchange:
        result = collect_raw(
            settings_for(exchange.url, "ETH-EUR:15m"), instance, "2024-01-01", "2024-01-31"
        )
        assert len(exchange.requests) == 10  # 31 days of 96 candles, 300 a request
    metadata = partition_metadata(result)
    assert len(metadata) == 31
    assert len(lake.list("raw_candles/")) == 31
