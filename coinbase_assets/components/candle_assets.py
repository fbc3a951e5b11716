"""`candle_assets`: the candle assets as `dg.Definitions`, for a project of one's own."""

from collections.abc import Callable, Sequence
from datetime import date, timedelta

import dagster as dg

from coinbase_assets.candles.series import Rollup, Series
from coinbase_assets.candles.series_patterns import expand, parse_patterns
from coinbase_assets.components.builder import build_candle_assets
from coinbase_assets.components.candle_options import (
    AlertOptions,
    Automation,
    CandleAsset,
    CandleOptions,
)
from coinbase_assets.environment.setting_values import (
    parse_rollups,
    parse_start,
    require_container,
    rollups_of_all,
)
from coinbase_assets.exchange.resource import ExchangeResource

NAME = "candles"


def candle_assets(
    *,
    series: Sequence[str],
    start: str | date,
    storage: dg.ConfigurableResource,
    container: str = "coinbasedata",
    rollups: Sequence[str] = (),
    products: Sequence[str] = (),
    exchange: ExchangeResource | None = None,
    freshness_warn: timedelta | None = None,
    freshness_fail: timedelta | None = None,
    alerts: AlertOptions | None = None,
    checks: bool = True,
    charts: bool = True,
    automation: str = Automation.SCHEDULES,
    translation: Callable[[dg.AssetSpec, CandleAsset], dg.AssetSpec] | None = None,
    name: str = NAME,
) -> dg.Definitions:
    """Return the definitions of these series, to be merged with others.

    `series` are such as `ETH-EUR:15m`; wildcards, as in `BTC-*:1m`, match `products`. `storage` is
    an AzureStorageResource, whose secrets are best given as `dg.EnvVar`. A rollup is a granularity
    for all products, such as `4h`, or `ETH-EUR:15m>4h`. `start` is the first day (UTC). `name`
    begins the names of resources, jobs, schedules and sensors, so that several of these can be
    merged. `translation` returns the attributes of an asset, from those it has by default. Raises
    ValueError.
    """
    require_container(container)
    collected = expand(parse_patterns(series), lambda: products)
    return build_candle_assets(
        CandleOptions(
            series=collected,
            rollups=_rollups(rollups, collected),
            start=parse_start(start) if isinstance(start, str) else start,
            storage=storage,
            exchange=exchange or ExchangeResource(),
            container=container,
            freshness_warn=freshness_warn,
            freshness_fail=freshness_fail,
            alerts=alerts,
            checks=checks,
            charts=charts,
            automation=Automation(automation),
            translation=translation,
            name=name,
        )
    )


def _rollups(texts: Sequence[str], series: Sequence[Series]) -> Sequence[Rollup]:
    """Return the rollups, each once. Raises ValueError for one whose series is not collected."""
    named = [each for text in texts if ">" in text for each in parse_rollups(text)]
    for rollup in named:
        if rollup.made_of not in series:
            raise ValueError(
                f"{rollup} is made from {rollup.made_of}, which is not collected; add it to series"
            )
    of_all = [each for text in texts if ">" not in text for each in rollups_of_all(text, series)]
    return list({str(each): each for each in [*of_all, *named]}.values())
