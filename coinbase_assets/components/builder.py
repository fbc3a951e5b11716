"""Builds the definitions of a deployment. All parts of the project meet here."""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial, reduce
from typing import Any

import dagster as dg

from coinbase_assets.assets.candle_chart import build_candle_chart
from coinbase_assets.assets.candle_coverage import build_candle_coverage
from coinbase_assets.assets.candle_history import build_candle_history
from coinbase_assets.assets.candle_rollup import build_candle_rollup
from coinbase_assets.assets.checks import build_candle_checks, build_rollup_checks
from coinbase_assets.assets.labels import add_labels
from coinbase_assets.assets.market_halts import build_market_halts
from coinbase_assets.assets.products import build_products
from coinbase_assets.assets.raw_candles import build_raw_candles
from coinbase_assets.assets.recency_checks import build_recency_checks
from coinbase_assets.automation.first_runs_sensor import build_first_runs_sensor
from coinbase_assets.automation.healing import build_heal_job, build_heal_schedule
from coinbase_assets.automation.rebuild_sensors import (
    build_candle_history_sensor,
    build_candle_rollup_sensor,
)
from coinbase_assets.automation.recency_sensor import build_recency_sensor
from coinbase_assets.automation.schedules import (
    build_candle_chart_schedule,
    build_live_candles_schedule,
    build_products_schedule,
    build_settle_candles_schedule,
)
from coinbase_assets.automation.stale_months_sensor import build_stale_months_sensor
from coinbase_assets.candles.series import Series
from coinbase_assets.components.automation_conditions import (
    add_conditions,
    build_condition_sensor,
)
from coinbase_assets.components.candle_options import Automation, CandleOptions
from coinbase_assets.components.resources import build_resources
from coinbase_assets.components.translation import translated_keys, with_translation
from coinbase_assets.dagster_instance.deployment import OWN, Deployment
from coinbase_assets.monitoring.alerts import build_alerts_sensor
from coinbase_assets.monitoring.freshness import (
    FreshnessWindows,
    add_freshness,
    freshness_windows,
)


def build_candle_assets(options: CandleOptions) -> dg.Definitions:
    """Return the definitions of one lake: assets, checks, jobs, and what the options ask for."""
    windows = {
        each: freshness_windows(each, options.freshness_warn, options.freshness_fail)
        for each in options.series
    }
    own = replace(OWN, is_shard=options.is_shard)
    deployment = Deployment(prefix=f"{options.name}_") if options.name else own
    assets = _assets(options, windows, deployment)
    if options.name:
        deployment = replace(deployment, keys=translated_keys(assets, options.translation))
    if options.translation:
        assets = _assets(options, windows, deployment)
        assets = with_translation(assets, options.translation, deployment)
    checks = [*_checks(options, windows, deployment)] if options.checks else []
    schedules = [*_schedules(options, deployment)]
    sensors = [*_sensors(options, windows, deployment)]
    return dg.Definitions(
        assets=assets,
        asset_checks=checks,
        resources=build_resources(options, deployment),
        jobs=[
            build_heal_job(options.series, options.start, deployment),
            *_jobs(schedules, sensors),
        ],
        schedules=schedules,
        sensors=[
            *sensors,
            *_conditions(options, assets, deployment),
            *_alerts(options, checks, deployment),
        ],
    )


def _jobs(
    schedules: Iterable[dg.ScheduleDefinition], sensors: Iterable[dg.SensorDefinition]
) -> Iterable[Any]:
    """Return their jobs, each once.

    Components change each job of the definitions once, but those of schedules and sensors apart.
    """
    found: list[Any] = [schedule.job for schedule in schedules if schedule.has_job]
    found += [job for sensor in sensors if sensor.has_jobs for job in sensor.jobs]
    return {id(job): job for job in found}.values()


def _assets(
    options: CandleOptions, windows: Mapping[Series, FreshnessWindows], deployment: Deployment
) -> list[dg.AssetsDefinition]:
    start = options.start
    # Other projects may execute each step in its own process, and each would ask for all series.
    build_raw = partial(build_raw_candles, together=() if options.name else options.series)
    with warnings.catch_warnings():
        # Backfill policies and mappings to days that do not exist yet are beta. We need both.
        warnings.simplefilter("ignore", dg.BetaWarning)
        assets = [
            build(series, start, deployment)
            for series in (*options.series, *options.other_series)
            for build in (build_raw, build_candle_history, build_candle_coverage)
        ]
        assets += [build_candle_rollup(rollup, start, deployment) for rollup in options.rollups]
        if deployment.can_tell_halts(options.series):
            assets.append(build_market_halts(options.series, start, deployment))
    assets.append(build_products(options.series, deployment))
    if options.charts:
        assets += [build_candle_chart(series, deployment) for series in options.series]
    additions = [add_freshness(windows, deployment), add_labels(options.owners, deployment)]
    if options.automation == Automation.DECLARATIVE:
        additions.append(add_conditions(options.series, deployment))

    # All at once: Dagster makes each asset again for each mapping.
    def complete(spec: dg.AssetSpec) -> dg.AssetSpec:
        return reduce(lambda changed, add: add(changed), additions, spec)

    return list(dg.map_asset_specs(complete, assets))


def _checks(
    options: CandleOptions, windows: Mapping[Series, FreshnessWindows], deployment: Deployment
) -> Iterator[dg.AssetChecksDefinition]:
    for series in options.series:
        yield from build_candle_checks(series, deployment)
    for rollup in options.rollups:
        yield build_rollup_checks(rollup, deployment)
    for series, window in windows.items():
        yield build_recency_checks(series, window, deployment)


def _schedules(options: CandleOptions, deployment: Deployment) -> Iterator[dg.ScheduleDefinition]:
    if options.automation != Automation.NONE:
        yield build_heal_schedule(deployment)
    if options.automation != Automation.SCHEDULES:
        return
    yield build_live_candles_schedule(options.series, options.start, deployment)
    yield build_settle_candles_schedule(options.series, options.start, deployment)
    yield build_products_schedule(deployment)
    if options.charts:
        yield build_candle_chart_schedule(options.series, deployment)


def _sensors(
    options: CandleOptions, windows: Mapping[Series, FreshnessWindows], deployment: Deployment
) -> Iterator[dg.SensorDefinition]:
    if options.checks and options.automation != Automation.NONE:
        yield build_recency_sensor(windows, deployment)
    if options.automation != Automation.SCHEDULES:
        return
    yield build_first_runs_sensor(options.series, options.charts, deployment)
    yield build_candle_history_sensor(options.series, options.start, deployment)
    if options.rollups:
        yield build_candle_rollup_sensor(options.rollups, options.start, deployment)
    yield build_stale_months_sensor(options.series, options.rollups, options.start, deployment)


def _conditions(
    options: CandleOptions, assets: Sequence[dg.AssetsDefinition], deployment: Deployment
) -> Iterator[dg.SensorDefinition]:
    if options.automation == Automation.DECLARATIVE:
        yield build_condition_sensor(assets, deployment)


def _alerts(
    options: CandleOptions, checks: Sequence[dg.AssetChecksDefinition], deployment: Deployment
) -> Iterator[dg.SensorDefinition]:
    if alerts := options.alerts:
        yield build_alerts_sensor(
            options.series,
            [key for check in checks for key in check.check_keys],
            alerts.destinations,
            alerts.heartbeat_url,
            alerts.start,
            alerts.web_url,
            deployment,
        )
