"""The jobs of schedules and sensors. A run has its job's name in the timeline of the web UI."""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING

import dagster as dg

from coinbase_assets.candles.datasets import CANDLE_CHART, PRODUCTS, RAW_CANDLES
from coinbase_assets.candles.series import Series

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


@cache
def asset_job(name: str, *assets: dg.AssetKey) -> "UnresolvedAssetJobDefinition":
    """Return the job of this name that materialises the assets, or those that a run selects.

    Dagster refuses two jobs of one name, even if they are equal. So the same job is returned.
    """
    selection = dg.AssetSelection.assets(*assets)
    return dg.define_asset_job(name, selection, description=_DESCRIPTIONS[name])


def raw_assets(series: Iterable[Series]) -> Sequence[dg.AssetKey]:
    return [dg.AssetKey(RAW_CANDLES.asset_key(each)) for each in series]


def chart_assets(series: Iterable[Series]) -> Sequence[dg.AssetKey]:
    return [dg.AssetKey(CANDLE_CHART.asset_key(each)) for each in series]


PRODUCTS_ASSET = dg.AssetKey(PRODUCTS.asset_key())
