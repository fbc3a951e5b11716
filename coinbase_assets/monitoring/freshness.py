"""How long after its last refresh a series is late or stale, and the freshness policies for it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

import dagster as dg

from coinbase_assets.candles.datasets import CANDLE_HISTORY, RAW_CANDLES
from coinbase_assets.candles.series import Granularity, Series
from coinbase_assets.dagster_instance.deployment import OWN, Deployment

_REFRESHED = (RAW_CANDLES, CANDLE_HISTORY)
# A refresh takes a few seconds and may fail once, so no window is shorter than these.
_EARLIEST_WARNING = timedelta(minutes=5)
_EARLIEST_FAILURE = timedelta(minutes=15)


@dataclass(frozen=True)
class FreshnessWindows:
    """The time since the last refresh after which a series is late (`warn`) or stale (`fail`)."""

    warn: timedelta
    fail: timedelta


def freshness_windows(
    series: Series, wanted_warn: timedelta | None = None, wanted_fail: timedelta | None = None
) -> FreshnessWindows:
    """Returns the wanted windows or, by default, those of the series' granularity.

    By default a series is late after one bucket and two missed refreshes, and stale after one
    bucket and seven missed refreshes: 45 minutes and 2 hours for 15m.
    """
    bucket, step = series.granularity.delta, refresh_step(series)
    warn = max(_EARLIEST_WARNING, bucket + 2 * step)
    fail = max(_EARLIEST_FAILURE, bucket + 7 * step)
    if wanted_fail:
        fail = wanted_fail
        warn = min(warn, fail / 2)
    if wanted_warn:
        warn = wanted_warn
        fail = fail if fail > warn else 2 * warn
    return FreshnessWindows(warn, fail)


def add_freshness(
    windows: Mapping[Series, FreshnessWindows], deployment: Deployment = OWN
) -> Callable[[dg.AssetSpec], dg.AssetSpec]:
    """Returns a function that gives raw candles and history of these series a freshness policy."""
    of_assets = {
        deployment.key(dataset, series): window
        for series, window in windows.items()
        for dataset in _REFRESHED
    }

    def add(spec: dg.AssetSpec) -> dg.AssetSpec:
        if not (window := of_assets.get(spec.key)):
            return spec
        policy = dg.FreshnessPolicy.time_window(fail_window=window.fail, warn_window=window.warn)
        return dg.apply_freshness_policy(spec, policy)

    return add


def refresh_step(series: Series) -> timedelta:
    """Returns how often the series is refreshed: once a bucket, at least every 15 minutes."""
    return min(series.granularity, Granularity.FIFTEEN_MINUTES, key=lambda g: g.seconds).delta
