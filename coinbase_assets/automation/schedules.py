"""The schedules: the open day, days to settle, the catalogue of products, the charts."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from functools import partial

import dagster as dg

from coinbase_assets.automation.jobs import (
    DRAW_CHARTS,
    LIST_PRODUCTS,
    LIVE_CANDLES,
    SETTLE_CANDLES,
    asset_job,
)
from coinbase_assets.candles.calendar import DAY
from coinbase_assets.candles.datasets import CANDLE_CHART, PRODUCTS, RAW_CANDLES
from coinbase_assets.candles.series import Series
from coinbase_assets.dagster_instance.deployment import OWN, Deployment
from coinbase_assets.dagster_instance.run_statuses import UNFINISHED
from coinbase_assets.dagster_instance.run_tags import (
    MAX_RETRIES_TAG,
    MAX_RUNTIME_SECONDS_TAG,
    PRIORITY_TAG,
    RETRIED,
    range_tags,
)
from coinbase_assets.monitoring.freshness import refresh_step

LIVE_CANDLES_SCHEDULE = "live_candles_schedule"
CANDLE_CHART_SCHEDULE = "candle_chart_schedule"
# Until this time the exchange may add candles to the day before.
_DAY_BEFORE_UNTIL = time(0, 30)
# The schedules catch up this many days. Older days need a back-fill.
_DAYS_CAUGHT_UP = 7
# Schedules are in UTC, and on without a click.
_schedule = partial(
    dg.schedule,
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)


def build_live_candles_schedule(
    series: Sequence[Series], start: date, deployment: Deployment = OWN
) -> dg.ScheduleDefinition:
    """Return the schedule that refreshes all series; no day before `start` is collected."""
    raw = deployment.series_keys(RAW_CANDLES, series)

    @_schedule(
        name=deployment.name(LIVE_CANDLES_SCHEDULE),
        job=asset_job(deployment, LIVE_CANDLES, raw),
        cron_schedule=_cron(series),
        description=(
            "Collects the candles since the exchange's last answer. It runs every 15 minutes, or"
            " more often for a series of shorter candles. After a pause it fetches up to seven"
            " days."
        ),
    )
    def live_candles_schedule(
        context: dg.ScheduleEvaluationContext,
    ) -> dg.RunRequest | dg.SkipReason:
        unfinished = dg.RunsFilter(tags=deployment.live_tag, statuses=UNFINISHED)
        if context.instance.get_runs(unfinished, limit=1):
            return dg.SkipReason("The last refresh has not ended yet")
        now = context.scheduled_execution_time
        due = [each for each in series if _is_due(each, now)]
        selected = deployment.series_keys(RAW_CANDLES, due)
        newest = (_first_day(context.instance, key, now) for key in selected)
        first = max(start, min(newest))
        return dg.RunRequest(
            run_config=deployment.run_config,
            asset_selection=selected,
            asset_check_keys=[],
            tags=live_run_tags(deployment, first, now.date()),
        )

    return live_candles_schedule


def live_run_tags(deployment: Deployment, first: date, last: date) -> Mapping[str, str]:
    """Return the tags of a run that refreshes the days from `first` to `last`."""
    return {
        **deployment.live_tag,
        PRIORITY_TAG: "10",
        # The next refresh is soon, so a failed run is not retried and a long one is ended.
        MAX_RETRIES_TAG: "0",
        MAX_RUNTIME_SECONDS_TAG: "600",
        **range_tags(str(first), str(last)),
    }


def build_settle_candles_schedule(
    series: Sequence[Series], start: date, deployment: Deployment = OWN
) -> dg.ScheduleDefinition:
    """Return the schedule that collects each closed day of all series twice more.

    The second time is more than 24 hours after the day's end. It settles the day if the coarser
    candles or the previous answer agree. A day that is not settled is collected again for a week.
    """
    raw = deployment.series_keys(RAW_CANDLES, series)

    @_schedule(
        name=deployment.name("settle_candles_schedule"),
        job=asset_job(deployment, SETTLE_CANDLES, raw),
        cron_schedule="40 0 * * *",
        description=(
            "Collects the last two closed days again, since the exchange revises recent candles,"
            " and the days of the last week that are not settled."
        ),
    )
    def settle_candles_schedule(
        context: dg.ScheduleEvaluationContext,
    ) -> dg.RunRequest | dg.SkipReason:
        today = context.scheduled_execution_time.date()
        last = today - DAY
        if last < start:
            return dg.SkipReason(f"No day since {start}, the first partition, has closed yet")
        unsettled = [day for key in raw for day in _unsettled(context.instance, key, today)]
        first = max(start, min([*unsettled, today - 2 * DAY]))
        return dg.RunRequest(
            run_config=deployment.run_config,
            asset_selection=raw,
            asset_check_keys=[],
            tags={**RETRIED, **range_tags(str(first), str(last))},
        )

    return settle_candles_schedule


def build_products_schedule(deployment: Deployment = OWN) -> dg.ScheduleDefinition:
    """Return the schedule that collects the exchange's catalogue of products."""
    products = [deployment.key(PRODUCTS)]

    @_schedule(
        name=deployment.name("products_schedule"),
        job=asset_job(deployment, LIST_PRODUCTS, products),
        cron_schedule="5 0 * * *",
        description="Collects the exchange's catalogue of products every day at 00:05 UTC.",
    )
    def products_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        return dg.RunRequest(
            run_config=deployment.run_config, asset_selection=products, tags=RETRIED
        )

    return products_schedule


def build_candle_chart_schedule(
    series: Sequence[Series], deployment: Deployment = OWN
) -> dg.ScheduleDefinition:
    """Return the schedule that draws the charts of all series."""
    charts = deployment.series_keys(CANDLE_CHART, series)

    @_schedule(
        name=deployment.name(CANDLE_CHART_SCHEDULE),
        job=asset_job(deployment, DRAW_CHARTS, charts),
        cron_schedule="20 * * * *",
        description="Draws the charts of all series every hour, at minute 20.",
    )
    def candle_chart_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        return dg.RunRequest(run_config=deployment.run_config, asset_selection=charts, tags=RETRIED)

    return candle_chart_schedule


def _unsettled(instance: dg.DagsterInstance, key: dg.AssetKey, today: date) -> list[date]:
    """Return the collected days of the last week that are not settled."""
    newest = instance.get_latest_storage_id_by_partition(
        key,
        dg.DagsterEventType.ASSET_MATERIALIZATION,
        partitions={str(today - n * DAY) for n in range(1, _DAYS_CAUGHT_UP + 1)},
    )
    if not newest:
        return []
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(key, storage_ids=list(newest.values())), limit=len(newest)
    ).records
    settled = {
        record.partition_key: record.asset_materialization.metadata.get("settled")
        for record in records
        if record.asset_materialization
    }
    return [
        date.fromisoformat(day)
        for day in newest
        if (flag := settled.get(day)) is None or flag.value is not True
    ]


def _cron(series: Sequence[Series]) -> str:
    minutes = min(map(refresh_step, series)) // timedelta(minutes=1)
    return f"*/{minutes} * * * *"


def _is_due(series: Series, now: datetime) -> bool:
    return timedelta(minutes=now.minute) % refresh_step(series) == timedelta(0)


def _first_day(instance: dg.DagsterInstance, key: dg.AssetKey, now: datetime) -> date:
    """Return the newest collected day of the last week (maybe incomplete), else today.

    Until 00:30, return yesterday or an earlier day.
    """
    today = now.date()
    days = [str(today - n * DAY) for n in range(_DAYS_CAUGHT_UP + 1)]
    collected = instance.get_latest_storage_id_by_partition(
        key,
        dg.DagsterEventType.ASSET_MATERIALIZATION,
        partitions=set(days),
    )
    newest = date.fromisoformat(max(collected, default=str(today)))
    return min(newest, today - DAY) if now.time() < _DAY_BEFORE_UNTIL else newest
