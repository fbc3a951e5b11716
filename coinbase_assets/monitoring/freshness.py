"""How far behind the exchange a series may be, and the policies that say so in the web UI."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import dagster as dg

from coinbase_assets.candles.datasets import CANDLE_HISTORY, RAW_CANDLES
from coinbase_assets.candles.series import Granularity, Series
from coinbase_assets.settings import Settings

_KINDS = (RAW_CANDLES, CANDLE_HISTORY)
# A refresh takes a few seconds, and one may fail: no alarm before these.
_EARLIEST_WARNING = timedelta(minutes=5)
_EARLIEST_FAILURE = timedelta(minutes=15)


@dataclass(frozen=True)
class FreshnessWindows:
    """After how long without news a series is late (`warn`), and stale (`fail`)."""

    warn: timedelta
    fail: timedelta


def freshness_windows(series: Series, settings: Settings) -> FreshnessWindows:
    """As set, else by the granularity: a bucket, and two or seven refreshes missed.

    45 minutes and 2 hours for 15m.
    """
    bucket, step = series.granularity.delta, refresh_step(series)
    warn = max(_EARLIEST_WARNING, bucket + 2 * step)
    fail = max(_EARLIEST_FAILURE, bucket + 7 * step)
    if settings.freshness_fail:
        fail = settings.freshness_fail
        warn = min(warn, fail / 2)
    if settings.freshness_warn:
        warn = settings.freshness_warn
        fail = fail if fail > warn else 2 * warn
    return FreshnessWindows(warn, fail)


def with_freshness(
    assets: Iterable[dg.AssetsDefinition], settings: Settings
) -> list[dg.AssetsDefinition]:
    """The assets with a policy on raw candles and history of every series."""
    windows = {
        dg.AssetKey(kind.asset_key(one)): freshness_windows(one, settings)
        for one in settings.series
        for kind in _KINDS
    }

    def apply(spec: dg.AssetSpec) -> dg.AssetSpec:
        if not (window := windows.get(spec.key)):
            return spec
        policy = dg.FreshnessPolicy.time_window(fail_window=window.fail, warn_window=window.warn)
        return dg.apply_freshness_policy(spec, policy)

    return list(dg.map_asset_specs(apply, assets))


def refresh_step(series: Series) -> timedelta:
    """How often the series is refreshed."""
    return min(series.granularity, Granularity.FIFTEEN_MINUTES, key=lambda g: g.seconds).delta
