"""Healing: collecting again just the days that the ledgers leave open."""

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
    """The days from `first` to `last`, both inclusive, that hold something unexplained.

    Nothing is planned for a series without. Raises StorageError.
    """
    plans = []
    for one in series:
        status = series_status(collector.store, one, today)
        days = sorted({day for interval in status.unexplained for day in interval.days})
        wanted = [day for day in days if first.isoformat() <= day <= last.isoformat()]
        if wanted:
            plans.append(collector.plan(one, wanted, again=True))
    return plans


class HealConfig(dg.Config):
    """What to heal; by default all there is."""

    series: list[str] = Field(default=[], description="such as ETH-EUR:15m; all if empty")
    first: str = Field(default="", description="first day, YYYY-MM-DD, UTC")
    last: str = Field(default="", description="last day, YYYY-MM-DD, UTC")


def build_heal_job(series: Sequence[Series], start: date) -> dg.JobDefinition:
    """The job that does as `coinbase-assets heal`, from the day `start` on.

    The runs it takes are recorded one by one.
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
            if outcome.error:
                raise outcome.error
            context.log.info(f"{outcome.plan.series}: collected {', '.join(outcome.plan.days)}")

    @dg.job(
        name="heal_candles",
        description="Collects again what the ledgers say is not collected or unconfirmed.",
    )
    def heal_candles() -> None:
        heal()

    return heal_candles
