"""Healing: collect again the days that have an unexplained interval, and no others."""

from collections.abc import Sequence
from datetime import UTC, date, datetime

import dagster as dg
from pydantic import Field

from coinbase_assets.automation.collector import Collector, Plan
from coinbase_assets.candles.series import Series
from coinbase_assets.lake.status import series_status
from coinbase_assets.storage.io_manager import AzureParquetIOManager


def plan_healing(
    collector: Collector,
    series: Sequence[Series],
    today: date,
    first: date = date.min,
    last: date = date.max,
) -> list[Plan]:
    """Plan the days that have an unexplained interval, from `first` to `last`, both inclusive.

    Returns no plan for a series that has no such day. Raises StorageError.
    """
    plans = []
    for each in series:
        status = series_status(collector.store, each, today)
        days = sorted({day for interval in status.unexplained for day in interval.days})
        wanted = [day for day in days if first.isoformat() <= day <= last.isoformat()]
        if wanted:
            plans.append(collector.plan(each, wanted, again=True))
    return plans


class HealConfig(dg.Config):
    """Which series and days to heal. By default, all series and all days."""

    series: list[str] = Field(
        default=[], description="series, for example ETH-EUR:15m; if empty, all"
    )
    first: str = Field(
        default="", description="first day, YYYY-MM-DD, UTC; if empty, COINBASE_START"
    )
    last: str = Field(default="", description="last day, YYYY-MM-DD, UTC; if empty, the newest")


def build_heal_job(series: Sequence[Series], start: date) -> dg.JobDefinition:
    """Return the job that does the same as `coinbase-assets heal`, from the day `start` on.

    Dagster records each run that the job starts.
    """

    @dg.op
    def heal(
        context: dg.OpExecutionContext,
        config: HealConfig,
        lake: dg.ResourceParam[AzureParquetIOManager],
    ) -> None:
        job = context.repository_def.get_implicit_global_asset_job_def()
        collector = Collector(job, context.instance, lake.store)
        chosen = [Series.parse(text) for text in config.series] or series
        first = max(start, date.fromisoformat(config.first or str(start)))
        last = date.fromisoformat(config.last or str(date.max))
        plans = plan_healing(collector, chosen, datetime.now(UTC).date(), first, last)
        context.log.info(f"{sum(plan.requests for plan in plans)} requests")
        for outcome in collector.collect_all(plans):
            if outcome.error and outcome.failed:
                raise outcome.error
            context.log.info(f"{outcome.plan.series}: collected {', '.join(outcome.plan.days)}")

    @dg.job(
        name="heal_candles",
        description="Collects again the days with uncollected or unconfirmed buckets.",
    )
    def heal_candles() -> None:
        heal()

    return heal_candles
