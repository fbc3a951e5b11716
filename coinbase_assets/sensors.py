"""`candle_history_sensor`: what landed becomes history."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import dagster as dg

from coinbase_assets.assets import raw_candles
from coinbase_assets.downstream import monthly_assets
from coinbase_assets.executor import RETRIED, SILENT
from coinbase_assets.halts import shows_halts
from coinbase_assets.partitions import MONTHS_PER_RUN, adjoining, month_of, range_tags
from coinbase_assets.series import Series

CANDLE_HISTORY_SENSOR = "candle_history_sensor"


def build_candle_history_sensor(series: Sequence[Series]) -> dg.SensorDefinition:
    """The sensor that materialises the months of the raw days that landed since its last tick.

    Its cursor is a storage id: all raw days recorded up to it have been seen to.
    """
    raw_keys = {one: dg.AssetKey(one.asset_key(raw_candles.KIND)) for one in series}

    @dg.sensor(
        name=CANDLE_HISTORY_SENSOR,
        target=monthly_assets(series, shows_halts(series)),
        minimum_interval_seconds=15,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Rebuilds just those months of the history whose raw days were collected.",
    )
    def candle_history_sensor(
        context: dg.SensorEvaluationContext,
    ) -> dg.SensorResult | dg.SkipReason:
        instance, seen = context.instance, int(context.cursor or 0)
        newest = _newest_storage_id(instance, list(raw_keys.values()))
        if newest <= seen:
            return dg.SkipReason("All data are up-to-date: no raw day landed since the last tick")
        months = {one: _touched(instance, key, seen, newest) for one, key in raw_keys.items()}
        requests = list(_requests(months, newest))
        return dg.SensorResult(run_requests=requests, cursor=str(newest))

    return candle_history_sensor


def _newest_storage_id(instance: dg.DagsterInstance, keys: Sequence[dg.AssetKey]) -> int:
    """Of the assets' materialisations. What has a smaller id is there to be read, too."""
    entries = [record.asset_entry for record in instance.get_asset_records(keys)]
    return max((entry.last_materialization_storage_id or 0 for entry in entries), default=0)


def _touched(
    instance: dg.DagsterInstance, key: dg.AssetKey, seen: int, newest: int
) -> tuple[str, ...]:
    """The months, ascending, of the days that landed after `seen` and up to `newest`."""
    landed = instance.get_latest_storage_id_by_partition(
        key, dg.DagsterEventType.ASSET_MATERIALIZATION, after_cursor=seen
    )
    return tuple(
        sorted({month_of(day) for day, landed_as in landed.items() if landed_as <= newest})
    )


def _requests(months: Mapping[Series, Sequence[str]], newest: int) -> Iterator[dg.RunRequest]:
    """One run for all series that share a range of adjoining months; a long range is cut."""
    sharing = defaultdict[tuple[str, str], list[Series]](list)
    for series, touched in months.items():
        for run in adjoining(touched, MONTHS_PER_RUN):
            sharing[run[0], run[-1]].append(series)
    for (first, last), together in sharing.items():
        yield dg.RunRequest(
            # A key is launched once, even if its run fails: hence the storage id.
            run_key=f"{first} to {last}, {', '.join(map(str, together))}: {newest}",
            run_config=SILENT,
            asset_selection=monthly_assets(together, shows_halts(list(months))),
            tags={**RETRIED, **range_tags(first, last)},
        )
