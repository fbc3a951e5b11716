"""`candle_history_sensor` and `candle_rollup_sensor`: rebuild months whose input is newer."""

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import date
from functools import partial
from typing import TypeVar

import dagster as dg

from coinbase_assets.assets.partitions import MONTHS_PER_RUN
from coinbase_assets.automation.event_cursors import EventCursor
from coinbase_assets.automation.jobs import BUILD_HISTORY, BUILD_ROLLUPS, asset_job
from coinbase_assets.automation.new_partitions import all_ids, read_new_partitions
from coinbase_assets.candles.calendar import adjoining, month_of
from coinbase_assets.candles.datasets import (
    CANDLE_COVERAGE,
    CANDLE_HISTORY,
    CANDLE_ROLLUP,
    MARKET_HALTS,
    RAW_CANDLES,
)
from coinbase_assets.candles.rollups import touched_months
from coinbase_assets.candles.series import CandleSeries, Rollup, Series
from coinbase_assets.dagster_instance.deployment import OWN, Deployment
from coinbase_assets.dagster_instance.run_tags import RETRIED, range_tags

CANDLE_HISTORY_SENSOR = "candle_history_sensor"
CANDLE_ROLLUP_SENSOR = "candle_rollup_sensor"

_UP_TO_DATE = "All months are up to date: no new data since the last tick"

_SeriesT = TypeVar("_SeriesT", bound=CandleSeries)
_sensor = partial(dg.sensor, default_status=dg.DefaultSensorStatus.RUNNING)


def build_candle_history_sensor(
    series: Sequence[Series], start: date, deployment: Deployment = OWN
) -> dg.SensorDefinition:
    """Return the sensor that rebuilds the months of raw days materialised since its last tick.

    The months before that of `start` have no partitions, and are left as they are.
    """
    raw = {each: deployment.key(RAW_CANDLES, each) for each in series}
    with_halts = deployment.can_tell_halts(series)

    @_sensor(
        name=deployment.name(CANDLE_HISTORY_SENSOR),
        job=asset_job(deployment, BUILD_HISTORY, monthly_assets(deployment, series, with_halts)),
        minimum_interval_seconds=15,
        description="Rebuilds the months of history and coverage that have a newly collected day.",
    )
    def candle_history_sensor(
        context: dg.SensorEvaluationContext,
    ) -> dg.SensorResult:
        return _tick(
            context,
            deployment,
            raw,
            lambda _, days: {month_of(day) for day in days if day >= f"{start:%Y-%m}"},
            lambda chosen: monthly_assets(deployment, chosen, with_halts),
        )

    return candle_history_sensor


def build_candle_rollup_sensor(
    rollups: Sequence[Rollup], start: date, deployment: Deployment = OWN
) -> dg.SensorDefinition:
    """Return the sensor that rebuilds the rollups of months rebuilt since its last tick.

    The months before that of `start` have no partitions, and are left as they are.
    """
    history = {each: deployment.key(CANDLE_HISTORY, each.made_of) for each in rollups}

    @_sensor(
        name=deployment.name(CANDLE_ROLLUP_SENSOR),
        job=asset_job(deployment, BUILD_ROLLUPS, deployment.series_keys(CANDLE_ROLLUP, rollups)),
        # A run takes seconds to start, and the history of 1m candles is rebuilt every minute.
        minimum_interval_seconds=60,
        description="Rebuilds the months of rollups whose history was rebuilt.",
    )
    def candle_rollup_sensor(
        context: dg.SensorEvaluationContext,
    ) -> dg.SensorResult:
        def rollup_months(rollup: Rollup, months: Collection[str]) -> set[str]:
            built = context.instance.get_materialized_partitions(history[rollup])
            touched = (touched_months(rollup.granularity, month) for month in months)
            return {month for month in set().union(*touched) & built if month >= f"{start:%Y-%m}"}

        return _tick(
            context,
            deployment,
            history,
            rollup_months,
            lambda chosen: deployment.series_keys(CANDLE_ROLLUP, chosen),
        )

    return candle_rollup_sensor


def _tick(
    context: dg.SensorEvaluationContext,
    deployment: Deployment,
    inputs: Mapping[_SeriesT, dg.AssetKey],
    months_of: Callable[[_SeriesT, Collection[str]], Collection[str]],
    assets: Callable[[Sequence[_SeriesT]], Sequence[dg.AssetKey]],
) -> dg.SensorResult:
    """Request runs for the partitions of `inputs` that were materialised since the last tick.

    `months_of` returns the months to rebuild for the new partitions of a series, `assets` the
    assets to rebuild for some series. The cursor says which storage ids of Dagster's event log were
    handled.
    """
    before = EventCursor.parse(context.cursor)
    new, cursor = read_new_partitions(context.instance, inputs, before, time.time())
    if not new:
        return dg.SensorResult(skip_reason=_UP_TO_DATE, cursor=str(cursor))
    months = {each: sorted(months_of(each, keys)) for each, keys in new.items()}
    requests = list(_requests(deployment, months, max(all_ids(new)), assets))
    return dg.SensorResult(run_requests=requests, cursor=str(cursor))


def _requests(
    deployment: Deployment,
    months: Mapping[_SeriesT, Sequence[str]],
    newest: int,
    assets: Callable[[Sequence[_SeriesT]], Sequence[dg.AssetKey]],
) -> Iterator[dg.RunRequest]:
    """Request one run per range of adjoining months, for all series that have the same range.

    A range of more than MONTHS_PER_RUN months is split.
    """
    series_by_range = defaultdict[tuple[str, str], list[_SeriesT]](list)
    for series, keys in months.items():
        for run in adjoining(keys, MONTHS_PER_RUN):
            series_by_range[run[0], run[-1]].append(series)
    for (first, last), chosen in series_by_range.items():
        yield dg.RunRequest(
            # Dagster launches a run key once, even if its run fails. So it has the storage id.
            run_key=f"{first} to {last}, {', '.join(map(str, chosen))}: {newest}",
            run_config=deployment.run_config,
            asset_selection=assets(chosen),
            tags={**RETRIED, **range_tags(first, last)},
        )


def monthly_assets(
    deployment: Deployment, series: Sequence[Series], with_halts: bool
) -> list[dg.AssetKey]:
    """Return the keys of the monthly assets of these series, with `market_halts` if wanted."""
    datasets = (CANDLE_HISTORY, CANDLE_COVERAGE)
    keys = [deployment.key(dataset, each) for each in series for dataset in datasets]
    return [*keys, deployment.key(MARKET_HALTS)] if with_halts else keys
