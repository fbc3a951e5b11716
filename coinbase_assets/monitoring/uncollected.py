"""Days since COINBASE_START that were never collected."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime

import dagster as dg

from coinbase_assets.candles.calendar import as_ranges, day_start, days_between
from coinbase_assets.candles.datasets import RAW_CANDLES
from coinbase_assets.candles.series import Series
from coinbase_assets.dagster_instance.deployment import OWN, Deployment
from coinbase_assets.monitoring.destinations import Level
from coinbase_assets.monitoring.incidents import Problem
from coinbase_assets.monitoring.kinds import Kind
from coinbase_assets.monitoring.subjects import page_of


def uncollected_days(
    instance: dg.DagsterInstance,
    series: Sequence[Series],
    start: date,
    now: datetime,
    deployment: Deployment = OWN,
) -> Iterator[Problem]:
    """Yield a problem for each series that lacks closed days since `start`.

    A day on which the product was not traded yet counts, too, until a run has collected it.
    """
    today = datetime.combine(now.date(), datetime.min.time(), UTC)
    wanted = days_between(day_start(str(start)), today)
    for each in series:
        key = deployment.key(RAW_CANDLES, each)
        recorded = instance.get_materialized_partitions(key)
        days = [day for day in wanted if day not in recorded]
        if days:
            yield Problem(
                str(each),
                Kind.NOT_COLLECTED,
                f"{len(days)} days since COINBASE_START={start} are not collected:"
                f" {as_ranges(days)}",
                Level.WARNING,
                page=page_of(key),
                remedy=f"coinbase-assets collect --series {each} --from {days[0]} --to {days[-1]}",
            )
