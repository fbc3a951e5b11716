"""Two assets that do nothing: what Dagster itself takes."""

import dagster as dg

from coinbase_assets.assets.partitions import days_per_run
from coinbase_assets.candles.series import Granularity


@dg.asset(
    partitions_def=dg.DailyPartitionsDefinition("2019-01-01"),
    backfill_policy=dg.BackfillPolicy.multi_run(days_per_run(Granularity.FIFTEEN_MINUTES)),
)
def nothing(context: dg.AssetExecutionContext) -> None:
    pass


@dg.asset
def nothing_either() -> None:
    pass
