"""What is made of raw days, always together, so that one never tells of another month's state."""

from collections.abc import Sequence

import dagster as dg

from coinbase_assets.assets import candle_coverage, candle_history, market_halts
from coinbase_assets.series import Series

HALTS = dg.AssetKey(market_halts.KIND)


def monthly_assets(series: Sequence[Series], with_halts: bool) -> list[dg.AssetKey]:
    """The monthly assets of these series."""
    kinds = (candle_history.KIND, candle_coverage.KIND)
    keys = [dg.AssetKey(one.asset_key(kind)) for one in series for kind in kinds]
    return [*keys, HALTS] if with_halts else keys
