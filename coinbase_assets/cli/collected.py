"""Remembers which series of the settings were ever collected, for the definitions."""

import dagster as dg

from coinbase_assets.candles.datasets import RAW_CANDLES
from coinbase_assets.environment.collected_series import add_collected_series
from coinbase_assets.settings import Settings


def remember_collected_series(settings: Settings, instance: dg.DagsterInstance) -> None:
    """Remember the series that have a recorded day; one with a misspelt name has none."""
    add_collected_series(
        settings.dagster_home,
        [
            series
            for series in settings.series
            if instance.get_materialized_partitions(dg.AssetKey(RAW_CANDLES.asset_key(series)))
        ],
    )
