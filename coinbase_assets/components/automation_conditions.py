"""Declarative automation: when each asset is to be materialised, as a condition of the asset."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import dagster as dg

from coinbase_assets.candles.datasets import CANDLE_CHART, PRODUCTS, RAW_CANDLES
from coinbase_assets.candles.series import Series
from coinbase_assets.dagster_instance.deployment import Deployment
from coinbase_assets.monitoring.freshness import refresh_step

# A day is collected again until it is settled, as by settle_candles_schedule.
_SETTLED_WITHIN = timedelta(days=2)


def add_conditions(
    series: Iterable[Series], deployment: Deployment
) -> Callable[[dg.AssetSpec], dg.AssetSpec]:
    """Return a function that gives assets their conditions, but not raw candles of other series."""
    conditions = {deployment.key(RAW_CANDLES, each): _of_raw(each) for each in series}
    conditions |= {deployment.key(CANDLE_CHART, each): _at("20 * * * *") for each in series}
    conditions[deployment.key(PRODUCTS)] = _at("5 0 * * *")

    def add(spec: dg.AssetSpec) -> dg.AssetSpec:
        if spec.key in conditions:
            return spec.replace_attributes(automation_condition=conditions[spec.key])
        is_raw = deployment.dataset_key(spec.key).path[-1] == RAW_CANDLES.name
        return spec if is_raw else spec.replace_attributes(automation_condition=_ON_NEW_INPUT)

    return add


def _at(cron: str) -> dg.AutomationCondition:
    tick: dg.AutomationCondition[Any] = dg.AutomationCondition.cron_tick_passed(cron, "UTC")
    return tick.since_last_handled() & ~dg.AutomationCondition.in_progress()


def _of_raw(series: Series) -> dg.AutomationCondition:
    """The open day at each refresh; the last closed days once more after each midnight."""
    minutes = refresh_step(series) // timedelta(minutes=1)
    latest = dg.AutomationCondition.in_latest_time_window()
    last_days = dg.AutomationCondition.in_latest_time_window(_SETTLED_WITHIN)
    return (_at(f"*/{minutes} * * * *") & latest) | (_at("40 0 * * *") & last_days)


# Unlike eager(), for any month, not only the newest, and even if the month lacks days.
_ON_NEW_INPUT = (
    dg.AutomationCondition.any_deps_updated().since_last_handled()
    & ~dg.AutomationCondition.any_deps_in_progress()
    & ~dg.AutomationCondition.in_progress()
)


def build_condition_sensor(
    assets: Iterable[dg.AssetsDefinition], deployment: Deployment
) -> dg.AutomationConditionSensorDefinition:
    """Return the sensor that evaluates the conditions of these assets. It is on from the start."""
    return dg.AutomationConditionSensorDefinition(
        deployment.name("condition_sensor"),
        target=dg.AssetSelection.assets(*assets),
        minimum_interval_seconds=15,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Materialises each asset when its automation condition is true.",
    )
