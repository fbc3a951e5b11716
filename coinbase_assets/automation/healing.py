"""Healing: collect again the days that have an unexplained interval, and no others."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from coinbase_assets.automation.collector import Collector
from coinbase_assets.automation.plans import Plan
from coinbase_assets.candles.calendar import DAY
from coinbase_assets.candles.datasets import RAW_CANDLES
from coinbase_assets.candles.evidence import is_due_again
from coinbase_assets.candles.series import CandleSeries, Series
from coinbase_assets.candles.windows import MAX_CANDLES
from coinbase_assets.completeness.ledger import State
from coinbase_assets.dagster_instance.deployment import OWN, Deployment
from coinbase_assets.dagster_instance.run_tags import HEALING, RETRIED, WITH_TRADES
from coinbase_assets.lake.day_states import days_table
from coinbase_assets.lake.inventory import inspect
from coinbase_assets.lake.mending import share_of_night, verify
from coinbase_assets.lake.status import series_status
from coinbase_assets.lake.stock import stored_partitions
from coinbase_assets.storage.io_manager import AzureParquetIOManager

if TYPE_CHECKING:
    from coinbase_assets.storage.parquet_store import ParquetStore


HEAL_JOB = "heal_candles"
_HOLES = (State.NO_TRADES, State.UNCONFIRMED, State.UNPROVABLE, State.PENDING)
# A night's requests for all series, about eight minutes of the exchange's limit.
_REQUESTS_A_NIGHT = 5_000


def plan_healing(
    collector: Collector,
    series: Sequence[Series],
    today: date,
    first: date = date.min,
    last: date = date.max,
    most_requests: int | None = None,
) -> list[Plan]:
    """Plan the days that have an unexplained interval, from `first` to `last`, both inclusive.

    So are days that an earlier rule compared, and days with a hole that could not be proven and
    that are due again. With `most_requests`, for all series together, plans the newest days, and
    leaves out days that are not due. Returns no plan for a series that has no such day, and nothing
    to be built again from the lake. Raises StorageError.
    """
    plans = []
    for each in series:
        days = _days_to_heal(collector.store, each, today, only_due=most_requests is not None)
        wanted = [day for day in days if first.isoformat() <= day <= last.isoformat()]
        if most_requests is not None:
            a_day = -(-(DAY // each.granularity.delta) // MAX_CANDLES)
            wanted = wanted[-max(1, most_requests // len(series) // a_day) :]
        plan = _plan(collector, each, wanted, "true")
        if plan.days or collector.is_stale(each):
            plans.append(plan)
    return plans


def verify_series(
    store: "ParquetStore",
    series: Series,
    rollups: Sequence[CandleSeries] = (),
    night: date | None = None,
) -> Sequence[str]:
    """Read the blobs of a series, or the share of a night, and return damaged ones' paths.

    Raises StorageError.
    """
    blobs = inspect(store, series, rollups).blobs
    return verify(store, share_of_night(blobs, night) if night else blobs)


def plan_trades(
    collector: Collector, series: Sequence[Series], first: date, last: date
) -> list[Plan]:
    """Plan the stored days from `first` to `last` that have a hole, to be healed by all trades."""
    plans = []
    for each in series:
        blobs = stored_partitions(collector.store, RAW_CANDLES, each)
        days = [
            day
            for day, blob in sorted(blobs.items())
            if first.isoformat() <= day <= last.isoformat()
            and blob.fields.get("missing_buckets") != "0"
        ]
        if days:
            plans.append(_plan(collector, each, days, WITH_TRADES))
    return plans


def _plan(collector: Collector, series: Series, days: Sequence[str], healing: str) -> Plan:
    return replace(collector.plan(series, days, again=True), tags={HEALING: healing})


def _days_to_heal(
    store: "ParquetStore", series: Series, today: date, only_due: bool
) -> Sequence[str]:
    """Return the keys of the days, ascending."""
    status = series_status(store, series, today)
    unexplained = {
        day
        for interval in status.unexplained
        if interval.state != State.PENDING
        for day in interval.days
    }
    now = datetime.now(UTC)
    blobs = stored_partitions(store, RAW_CANDLES, series)
    due = {day for day, blob in blobs.items() if is_due_again(blob.fields, now)}
    due &= _days_with_holes(store, series) if due else set()
    if only_due:
        unexplained -= {day for day in unexplained & blobs.keys() if "tries" in blobs[day].fields}
    return sorted(unexplained | due)


def _days_with_holes(store: "ParquetStore", series: Series) -> set[str]:
    """Return the days with a hole in the product's lifetime, by the ledger."""
    days = days_table(store, series).to_pylist()
    return {str(row["day"]) for row in days if any(row[state] for state in _HOLES)}


class HealConfig(dg.Config):
    """Which series and days to heal. By default, all series and all days."""

    series: list[str] = Field(
        default=[], description="Series, for example ETH-EUR:15m. Empty: all that are configured."
    )
    first: str = Field(
        default="", description="First day, YYYY-MM-DD, UTC. Empty: the first partition."
    )
    last: str = Field(default="", description="Last day, YYYY-MM-DD, UTC. Empty: the newest.")
    most_requests: int | None = Field(
        default=None,
        ge=1,
        description=(
            "Most requests for candles, all series together, newest days first. Left out: as many"
            " as it takes."
        ),
    )


def build_heal_job(
    series: Sequence[Series], start: date, deployment: Deployment = OWN
) -> dg.JobDefinition:
    """Return the job that does the same as `coinbase-assets heal`, from the day `start` on.

    Dagster records each run that the job starts.
    """

    @dg.op(name=deployment.name("heal"), required_resource_keys={deployment.lake})
    def heal(context: dg.OpExecutionContext, config: HealConfig) -> None:
        """Collect the days, and build what follows from them, in runs of their own."""
        lake: AzureParquetIOManager = deployment.lake_of(context)
        job = context.repository_def.get_implicit_global_asset_job_def()
        collector = Collector(job, context.instance, lake.store, deployment)
        chosen = [Series.parse(text) for text in config.series] or series
        first = max(start, date.fromisoformat(config.first or str(start)))
        last = date.fromisoformat(config.last or str(date.max))
        today = datetime.now(UTC).date()
        for each in chosen:
            for path in verify_series(lake.store, each, collector.rollups(each), today):
                context.log.warning(f"{path} is damaged")
        plans = plan_healing(collector, chosen, today, first, last, config.most_requests)
        context.log.info(f"{sum(plan.requests for plan in plans)} requests")
        for outcome in collector.collect_all(plans):
            if outcome.error and outcome.failed:
                raise outcome.error
            context.log.info(f"{outcome.plan.series}: collected {', '.join(outcome.plan.days)}")

    # The launchpad shows these values; the field without one is in its help.
    shown = {"series": [str(each) for each in series], "first": str(start), "last": ""}

    @dg.job(
        name=deployment.name(HEAL_JOB),
        config={"ops": {deployment.name("heal"): {"config": shown}}},
        description=(
            "Collects again the days with uncollected or unconfirmed buckets, and rebuilds what"
            " depends on them. Does the same as `coinbase-assets heal`."
        ),
    )
    def heal_candles() -> None:
        heal()

    return heal_candles


def build_heal_schedule(deployment: Deployment = OWN) -> dg.ScheduleDefinition:
    """Return the schedule that heals every night, with a bounded number of requests."""

    @dg.schedule(
        name=deployment.name("heal_candles_schedule"),
        job_name=deployment.name(HEAL_JOB),
        cron_schedule="30 2 * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=(
            "Collects days with unproven holes again, and days compared by an earlier rule, the"
            " newest first."
        ),
    )
    def heal_candles_schedule() -> dg.RunRequest:
        config = {"config": {"most_requests": _REQUESTS_A_NIGHT}}
        return dg.RunRequest(run_config={"ops": {deployment.name("heal"): config}}, tags=RETRIED)

    return heal_candles_schedule
