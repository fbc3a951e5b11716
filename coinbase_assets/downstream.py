"""What is made of raw days, always together, so that one never tells of another month's state."""

from collections.abc import Sequence

import dagster as dg

from coinbase_assets.assets import candle_coverage, candle_history, market_halts
from coinbase_assets.series import Series


def monthly_assets(series: Sequence[Series]) -> list[dg.AssetKey]:
    """The monthly assets of these series."""
    kinds = (candle_history.KIND, candle_coverage.KIND)
    keys = [dg.AssetKey(one.asset_key(kind)) for one in series for kind in kinds]
    return [*keys, dg.AssetKey(market_halts.KIND)]
