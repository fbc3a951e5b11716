"""What incidents are about: a series, or an asset that has no series."""

import dagster as dg

from coinbase_assets.candles.datasets import (
    CANDLE_COVERAGE,
    CANDLE_HISTORY,
    CANDLE_ROLLUP,
    RAW_CANDLES,
)
from coinbase_assets.dagster_instance.deployment import OWN, Deployment

WATCHED = (RAW_CANDLES, CANDLE_HISTORY, CANDLE_COVERAGE, CANDLE_ROLLUP)
_NAMES = {dataset.name for dataset in WATCHED}


def subject_of(key: dg.AssetKey, deployment: Deployment = OWN) -> str:
    """Return the series of an asset, as `ETH-EUR:15m`; of an asset without a series, its name."""
    *series, name = deployment.dataset_key(key).path
    return ":".join(series) or name


def is_watched(key: dg.AssetKey, deployment: Deployment) -> bool:
    """Return whether failed runs of the asset are problems. Keys of the old form are not."""
    return deployment.owns(key) and deployment.dataset_key(key).path[-1] in _NAMES


def page_of(key: dg.AssetKey) -> str:
    """Return the path of the asset's page in the web UI."""
    return f"/assets/{'/'.join(key.path)}"
