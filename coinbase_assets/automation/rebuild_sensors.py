"""`candle_history_sensor` and `candle_rollup_sensor`: what landed becomes history, then rollups."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import TypeVar

import dagster as dg

from coinbase_assets.assets.partitions import MONTHS_PER_RUN
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
from coinbase_assets.completeness.halts import can_tell_halts
from coinbase_assets.dagster_instance.executor import SILENT
from coinbase_assets.dagster_instance.run_tags import RETRIED, range_tags

CANDLE_HISTORY_SENSOR = "candle_history_sensor"
CANDLE_ROLLUP_SENSOR = "candle_rollup_sensor"

HALTS = dg.AssetKey(MARKET_HALTS.asset_key())

_Made = TypeVar("_Made", bound=CandleSeries)
_sensor = partial(dg.sensor, default_status=dg.DefaultSensorStatus.RUNNING)


def build_candle_history_sensor(series: Sequence[Series]) -> dg.SensorDefinition:
    """The sensor that materialises the months of the raw days that landed since its last tick."""
    raw = {one: dg.AssetKey(RAW_CANDLES.asset_key(one)) for one in series}
    with_halts = can_tell_halts(series)

    @_sensor(
        name=CANDLE_HISTORY_SENSOR,
        target=monthly_assets(series, with_halts),
        minimum_interval_seconds=15,
        description="Rebuilds just those months of the history whose raw days were collected.",
    )
    def candle_history_sensor(
        context: dg.SensorEvaluationContext,
    ) -> dg.SensorResult | dg.SkipReason:
        return _tick(
            context,
            raw,
            lambda one, days: {month_of(day) for day in days},
            lambda together: monthly_assets(together, with_halts),
        )

    return candle_history_sensor


def build_candle_rollup_sensor(rollups: Sequence[Rollup]) -> dg.SensorDefinition:
    """The sensor that materialises what the months of history show in that landed likewise."""
    history = {one: dg.AssetKey(CANDLE_HISTORY.asset_key(one.made_of)) for one in rollups}

    @_sensor(
        name=CANDLE_ROLLUP_SENSOR,
        target=_rollup_assets(rollups),
        # A run takes seconds to start, and the history of 1m candles lands every minute.
        minimum_interval_seconds=60,
        description="Rebuilds just those months of the rollups whose history was rebuilt.",
    )
    def candle_rollup_sensor(
        context: dg.SensorEvaluationContext,
    ) -> dg.SensorResult | dg.SkipReason:
        def touched(rollup: Rollup, months: Collection[str]) -> set[str]:
            there = context.instance.get_materialized_partitions(history[rollup])
            found = (touched_months(rollup.granularity, month) for month in months)
            return {month for some in found for month in some} & there

        return _tick(context, history, touched, _rollup_assets)

    return candle_rollup_sensor


def _rollup_assets(rollups: Sequence[Rollup]) -> list[dg.AssetKey]:
    return [dg.AssetKey(CANDLE_ROLLUP.asset_key(one)) for one in rollups]


def _tick(
    context: dg.SensorEvaluationContext,
    watched: Mapping[_Made, dg.AssetKey],
    touched: Callable[[_Made, Collection[str]], Collection[str]],
    assets: Callable[[Sequence[_Made]], Sequence[dg.AssetKey]],
) -> dg.SensorResult | dg.SkipReason:
    """Runs over the months `touched` by the partitions of `watched` that landed since the last one.

    The cursor is a storage id: all partitions recorded up to it have been seen to.
    """
    instance, seen = context.instance, int(context.cursor or 0)
    newest = _newest_storage_id(instance, list(watched.values()))
    if newest <= seen:
        return dg.SkipReason("All data are up-to-date: nothing landed since the last tick")
    landed = {one: _landed(instance, key, seen, newest) for one, key in watched.items()}
    months = {one: sorted(touched(one, keys)) for one, keys in landed.items() if keys}
    requests = list(_requests(months, newest, assets))
    return dg.SensorResult(run_requests=requests, cursor=str(newest))


def _newest_storage_id(instance: dg.DagsterInstance, keys: Sequence[dg.AssetKey]) -> int:
    """Of the assets' materialisations. What has a smaller id is there to be read, too."""
    entries = [record.asset_entry for record in instance.get_asset_records(keys)]
    return max((entry.last_materialization_storage_id or 0 for entry in entries), default=0)


def _landed(
    instance: dg.DagsterInstance, key: dg.AssetKey, seen: int, newest: int
) -> Collection[str]:
    """The partitions that landed after `seen` and up to `newest`."""
    landed = instance.get_latest_storage_id_by_partition(
        key, dg.DagsterEventType.ASSET_MATERIALIZATION, after_cursor=seen
    )
    return [partition for partition, landed_as in landed.items() if landed_as <= newest]


def _requests(
    months: Mapping[_Made, Sequence[str]],
    newest: int,
    assets: Callable[[Sequence[_Made]], Sequence[dg.AssetKey]],
) -> Iterator[dg.RunRequest]:
    """One run for all that share a range of adjoining months; a long range is cut."""
    sharing = defaultdict[tuple[str, str], list[_Made]](list)
    for one, touched in months.items():
        for run in adjoining(touched, MONTHS_PER_RUN):
            sharing[run[0], run[-1]].append(one)
    for (first, last), together in sharing.items():
        yield dg.RunRequest(
            # A key is launched once, even if its run fails: hence the storage id.
            run_key=f"{first} to {last}, {', '.join(map(str, together))}: {newest}",
            run_config=SILENT,
            asset_selection=assets(together),
            tags={**RETRIED, **range_tags(first, last)},
        )


def monthly_assets(series: Sequence[Series], with_halts: bool) -> list[dg.AssetKey]:
    """The monthly assets of these series."""
    kinds = (CANDLE_HISTORY, CANDLE_COVERAGE)
    keys = [dg.AssetKey(kind.asset_key(one)) for one in series for kind in kinds]
    return [*keys, HALTS] if with_halts else keys
