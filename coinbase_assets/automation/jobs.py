"""The jobs of schedules and sensors. A run has its job's name in the timeline of the web UI."""

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

import dagster as dg

from coinbase_assets.dagster_instance.deployment import Deployment

if TYPE_CHECKING:
    from coinbase_assets.dagster_instance.private_names import UnresolvedAssetJobDefinition

LIVE_CANDLES = "live_candles"
SETTLE_CANDLES = "settle_candles"
BUILD_HISTORY = "build_history"
BUILD_ROLLUPS = "build_rollups"
DRAW_CHARTS = "draw_charts"
LIST_PRODUCTS = "list_products"

_DESCRIPTIONS = {
    LIVE_CANDLES: "Collects the candles since the exchange's last answer.",
    SETTLE_CANDLES: "Collects the last closed days again, to settle them.",
    BUILD_HISTORY: "Builds the months of history, coverage and halts that have a new day.",
    BUILD_ROLLUPS: "Builds the months of rollups whose history was rebuilt.",
    DRAW_CHARTS: "Draws the charts.",
    LIST_PRODUCTS: "Collects the exchange's catalogue of products.",
}


def asset_job(
    deployment: Deployment, name: str, assets: Iterable[dg.AssetKey]
) -> "UnresolvedAssetJobDefinition":
    """Return the job of this name that materialises the assets, or those that a run selects."""
    return _job(deployment.name(name), _DESCRIPTIONS[name], tuple(assets))


@cache
def _job(
    name: str, description: str, assets: tuple[dg.AssetKey, ...]
) -> "UnresolvedAssetJobDefinition":
    """Return the same job each time: Dagster refuses two of one name, even if they are equal."""
    selection = dg.AssetSelection.assets(*assets)
    return dg.define_asset_job(name, selection, description=description)
