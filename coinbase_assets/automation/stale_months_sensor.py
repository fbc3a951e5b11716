"""`stale_months_sensor`: requests months that the lake says are to be built, without any event.

Dagster has no event of days that were stored by another Dagster instance, by a run that still goes
on or by a killed one, nor of months that were deleted.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta

import dagster as dg

from coinbase_assets.assets.partitions import MONTHS_PER_RUN
from coinbase_assets.automation.jobs import BUILD_HISTORY, BUILD_ROLLUPS, asset_job
from coinbase_assets.automation.rebuild_sensors import monthly_assets
from coinbase_assets.candles.calendar import adjoining, month_of
from coinbase_assets.candles.datasets import CANDLE_COVERAGE, CANDLE_HISTORY, CANDLE_ROLLUP
from coinbase_assets.candles.months import months_digest
from coinbase_assets.candles.series import Rollup, Series
from coinbase_assets.dagster_instance.deployment import OWN, Deployment
from coinbase_assets.dagster_instance.run_tags import RETRIED, range_tags
from coinbase_assets.lake.inventory import Digests, Inventory, inspect
from coinbase_assets.storage.errors import StorageError

STALE_MONTHS_SENSOR = "stale_months_sensor"
# An inspection of a series lists its folders: some requests to the storage.
_SECONDS_BETWEEN = 60
_ROUND = timedelta(minutes=15)


def build_stale_months_sensor(
    series: Sequence[Series],
    rollups: Sequence[Rollup],
    start: date,
    deployment: Deployment = OWN,
) -> dg.SensorDefinition:
    """Return the sensor that inspects the series in turn, one in a tick.

    Each is inspected every quarter of an hour, or later if there are more than 15. The months
    before that of `start` have no partitions, and are left as they are.
    """
    with_halts = deployment.can_tell_halts(series)
    monthly = monthly_assets(deployment, series, with_halts)
    keys = {BUILD_HISTORY: monthly, BUILD_ROLLUPS: deployment.series_keys(CANDLE_ROLLUP, rollups)}

    @dg.sensor(
        name=deployment.name(STALE_MONTHS_SENSOR),
        jobs=[asset_job(deployment, name, assets) for name, assets in keys.items() if assets],
        minimum_interval_seconds=_SECONDS_BETWEEN,
        default_status=dg.DefaultSensorStatus.RUNNING,
        required_resource_keys={deployment.lake},
        description=(
            "Rebuilds months that are missing in the lake, or older than what they are made of,"
            " though nothing was collected. It inspects one series after the other."
        ),
    )
    def stale_months_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        """The cursor holds the number of inspections, and the time of the last one."""
        now = datetime.now(UTC)
        turn, last = json.loads(context.cursor or "[0, null]")
        if last and now - datetime.fromisoformat(last) < _ROUND / len(series):
            return dg.SensorResult(skip_reason="No series is due", cursor=context.cursor)
        each = series[turn % len(series)]
        made_of_it = [rollup for rollup in rollups if rollup.made_of == each]
        cursor = json.dumps([turn + 1, str(now)])
        try:
            inventory = inspect(deployment.lake_of(context).store, each, made_of_it)
        except StorageError as error:
            return dg.SensorResult(skip_reason=f"{each}: {error}", cursor=cursor)
        history = monthly_assets(deployment, [each], with_halts)
        requests = list(_requests(deployment, history, inventory, start, now))
        reason = None if requests else f"All months of {each} are up to date"
        return dg.SensorResult(requests, reason, cursor)

    return stale_months_sensor


def _requests(
    deployment: Deployment,
    monthly: Sequence[dg.AssetKey],
    inventory: Inventory,
    start: date,
    now: datetime,
) -> Iterator[dg.RunRequest]:
    """Request the months of history; if none is due, those of rollups, which are made of it.

    `monthly` are the assets that are built with the history. A month that holds a lost day is left
    as it is.
    """
    overdue, series = inventory.overdue(now), inventory.series
    kept = {*map(month_of, inventory.lost_days)}
    due = {
        built: {
            month: digest
            for month, digest in months.items()
            if month >= f"{start:%Y-%m}" and month not in kept
        }
        for built, months in overdue.items()
    }
    history = due[CANDLE_HISTORY, series] | due[CANDLE_COVERAGE, series]
    yield from _runs(deployment, BUILD_HISTORY, monthly, history, now)
    for rollup in () if history else inventory.rollups:
        rolled_up = [deployment.key(CANDLE_ROLLUP, rollup)]
        yield from _runs(deployment, BUILD_ROLLUPS, rolled_up, due[CANDLE_ROLLUP, rollup], now)


def _runs(
    deployment: Deployment,
    job: str,
    assets: Sequence[dg.AssetKey],
    months: Digests,
    now: datetime,
) -> Iterator[dg.RunRequest]:
    """Request a run for each range of the months.

    Its key has what the months are to be made of, and the day: a run that is still going on is not
    requested again, and one that fails only once a day.
    """
    names = ", ".join(key.to_user_string() for key in assets)
    for run in adjoining(sorted(months), MONTHS_PER_RUN):
        digest = months_digest([months[month] for month in run])
        yield dg.RunRequest(
            run_key=f"{names} {run[0]} to {run[-1]}: {digest} {now:%F}",
            job_name=deployment.name(job),
            run_config=deployment.run_config,
            asset_selection=assets,
            tags={**RETRIED, **range_tags(run[0], run[-1])},
        )
