"""What is asked of the exchange, and when: the open day, the days to settle, the catalogue."""

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from functools import partial

import dagster as dg

from coinbase_assets.candles.calendar import DAY
from coinbase_assets.candles.datasets import CANDLE_CHART, PRODUCTS, RAW_CANDLES
from coinbase_assets.candles.series import Series
from coinbase_assets.dagster_instance.executor import SILENT
from coinbase_assets.dagster_instance.private_names import IMPLICIT_ASSET_JOB_NAME
from coinbase_assets.dagster_instance.run_statuses import UNFINISHED
from coinbase_assets.dagster_instance.run_tags import (
    LIVE,
    MAX_RETRIES_TAG,
    MAX_RUNTIME_SECONDS_TAG,
    PRIORITY_TAG,
    RETRIED,
    range_tags,
)
from coinbase_assets.monitoring.freshness import refresh_step

LIVE_CANDLES_SCHEDULE = "live_candles_schedule"
CANDLE_CHART_SCHEDULE = "candle_chart_schedule"
# Until then the exchange may still add to the day before.
_DAY_BEFORE_UNTIL = time(0, 30)
# After a longer pause than this, the days missed are for a back-fill.
_MOST_DAYS_MISSED = 7
_RUN_TAGS = {
    LIVE: "true",
    PRIORITY_TAG: "10",
    # The next refresh is soon: rather that than a retry, or one that hangs.
    MAX_RETRIES_TAG: "0",
    MAX_RUNTIME_SECONDS_TAG: "600",
}

# Schedules of the one job with all assets, in UTC, at work without a click.
_schedule = partial(
    dg.schedule,
    job_name=IMPLICIT_ASSET_JOB_NAME,
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)


def build_live_candles_schedule(series: Sequence[Series], start: date) -> dg.ScheduleDefinition:
    """The schedule over all series, whose days begin with `start`."""

    @_schedule(
        name=LIVE_CANDLES_SCHEDULE,
        cron_schedule=_cron(series),
        description=(
            "Asks the exchange for what came since its last answer: every 15 minutes, or every"
            " step of a finer series. Days missed while nothing ran are caught up, up to a week."
        ),
    )
    def live_candles_schedule(
        context: dg.ScheduleEvaluationContext,
    ) -> dg.RunRequest | dg.SkipReason:
        unfinished = dg.RunsFilter(tags={LIVE: "true"}, statuses=UNFINISHED)
        if context.instance.get_runs(unfinished, limit=1):
            return dg.SkipReason("The refresh before this one has not ended yet")
        now = context.scheduled_execution_time
        due = [one for one in series if _is_due(one, now)]
        first = max(start, min(_first_day(context.instance, one, now) for one in due))
        return dg.RunRequest(
            run_config=SILENT,
            asset_selection=[dg.AssetKey(RAW_CANDLES.asset_key(one)) for one in due],
            asset_check_keys=[],
            tags={**_RUN_TAGS, **range_tags(str(first), str(now.date()))},
        )

    return live_candles_schedule


def build_settle_candles_schedule(series: Sequence[Series], start: date) -> dg.ScheduleDefinition:
    """The schedule over all series that collects each closed day again, twice.

    The second time is more than 24 hours after the day's end, which settles it, if coarser candles
    or the answer before agree; else it is collected again for a week.
    """

    @_schedule(
        name="settle_candles_schedule",
        cron_schedule="40 0 * * *",
        description=(
            "Collects the last two closed days again, since the exchange revises young candles,"
            " and those of the last week that are not settled."
        ),
    )
    def settle_candles_schedule(
        context: dg.ScheduleEvaluationContext,
    ) -> dg.RunRequest | dg.SkipReason:
        today = context.scheduled_execution_time.date()
        last = today - DAY
        if last < start:
            return dg.SkipReason(f"No day since COINBASE_START={start} has closed yet")
        unsettled = [day for one in series for day in _unsettled(context.instance, one, today)]
        first = max(start, min([*unsettled, today - 2 * DAY]))
        return dg.RunRequest(
            run_config=SILENT,
            asset_selection=[dg.AssetKey(RAW_CANDLES.asset_key(one)) for one in series],
            asset_check_keys=[],
            tags={**RETRIED, **range_tags(str(first), str(last))},
        )

    return settle_candles_schedule


@_schedule(
    name="products_schedule",
    cron_schedule="5 0 * * *",
    description="Asks the exchange once a day, at 00:05 UTC, which products it has.",
)
def products_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    return dg.RunRequest(
        run_config=SILENT,
        asset_selection=[dg.AssetKey(PRODUCTS.asset_key())],
        tags=RETRIED,
    )


def build_candle_chart_schedule(series: Sequence[Series]) -> dg.ScheduleDefinition:
    """The schedule that draws the charts of all series."""

    @_schedule(
        name=CANDLE_CHART_SCHEDULE,
        cron_schedule="20 * * * *",
        description="Draws the charts of all series, every hour at minute 20.",
    )
    def candle_chart_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        return dg.RunRequest(
            run_config=SILENT,
            asset_selection=[dg.AssetKey(CANDLE_CHART.asset_key(one)) for one in series],
            tags=RETRIED,
        )

    return candle_chart_schedule


def _unsettled(instance: dg.DagsterInstance, series: Series, today: date) -> list[date]:
    """The days of the last week that were collected and are not settled."""
    key = dg.AssetKey(RAW_CANDLES.asset_key(series))
    newest = instance.get_latest_storage_id_by_partition(
        key,
        dg.DagsterEventType.ASSET_MATERIALIZATION,
        partitions={str(today - n * DAY) for n in range(1, _MOST_DAYS_MISSED + 1)},
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
        if (found := settled.get(day)) is None or found.value is not True
    ]


def _cron(series: Sequence[Series]) -> str:
    minutes = min(map(refresh_step, series)) // timedelta(minutes=1)
    return f"*/{minutes} * * * *"


def _is_due(series: Series, now: datetime) -> bool:
    return timedelta(minutes=now.minute) % refresh_step(series) == timedelta(0)


def _first_day(instance: dg.DagsterInstance, series: Series, now: datetime) -> date:
    """The newest day collected of the last ones, which may have been cut short; else today."""
    today = now.date()
    days = [str(today - n * DAY) for n in range(_MOST_DAYS_MISSED + 1)]
    collected = instance.get_latest_storage_id_by_partition(
        dg.AssetKey(RAW_CANDLES.asset_key(series)),
        dg.DagsterEventType.ASSET_MATERIALIZATION,
        partitions=set(days),
    )
    newest = date.fromisoformat(max(collected, default=str(today)))
    return min(newest, today - DAY) if now.time() < _DAY_BEFORE_UNTIL else newest
