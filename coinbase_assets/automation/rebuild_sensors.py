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
    ) -> dg.SensorResult | dg.SkipReason:
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
    ) -> dg.SensorResult | dg.SkipReason:
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
) -> dg.SensorResult | dg.SkipReason:
    """Request runs for the partitions of `inputs` that were materialised since the last tick.

    `months_of` returns the months to rebuild for the new partitions of a series, `assets` the
    assets to rebuild for some series. The cursor says which storage ids of Dagster's event log were
    handled.
    """
    instance, cursor = context.instance, EventCursor.parse(context.cursor)
    newest = _newest_storage_id(instance, list(inputs.values()))
    if newest <= cursor.settled:
        return dg.SkipReason(_UP_TO_DATE)
    new = {each: _new_partitions(instance, key, cursor, newest) for each, key in inputs.items()}
    handled = [storage_id for ids in new.values() for storage_id in ids.values()]
    months = {each: sorted(months_of(each, ids)) for each, ids in new.items() if ids}
    requests = list(_requests(deployment, months, max(handled, default=0), assets))
    return dg.SensorResult(
        run_requests=requests,
        skip_reason=None if handled else _UP_TO_DATE,
        cursor=str(cursor.after(handled, newest, time.time())),
    )


def _newest_storage_id(instance: dg.DagsterInstance, keys: Sequence[dg.AssetKey]) -> int:
    """Return the newest storage id of the assets' materialisations."""
    entries = [record.asset_entry for record in instance.get_asset_records(keys)]
    return max((entry.last_materialization_storage_id or 0 for entry in entries), default=0)


def _new_partitions(
    instance: dg.DagsterInstance, key: dg.AssetKey, cursor: EventCursor, newest: int
) -> Mapping[str, int]:
    """Return the partitions whose newest storage id is not handled, and is at most `newest`.

    The older ids of a partition need no look: their data was stored before.
    """
    storage_ids = instance.get_latest_storage_id_by_partition(
        key, dg.DagsterEventType.ASSET_MATERIALIZATION, after_cursor=cursor.settled
    )
    return {
        partition: storage_id
        for partition, storage_id in storage_ids.items()
        if storage_id <= newest and not cursor.has_handled(storage_id)
    }


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
