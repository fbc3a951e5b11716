"""`<product>/<granularity>/candle_rollup`: coarser candles, one partition per UTC month."""

from collections.abc import Iterator, Sequence
from datetime import date

import dagster as dg
import pyarrow as pa

from coinbase_assets.assets.partitions import MONTHS_PER_RUN, monthly_partitions
from coinbase_assets.assets.table_schema import CANDLE_METADATA
from coinbase_assets.candles.datasets import CANDLE_HISTORY, CANDLE_ROLLUP
from coinbase_assets.candles.rollups import roll_up, source_months
from coinbase_assets.candles.series import Rollup
from coinbase_assets.dagster_instance.deployment import OWN, Deployment
from coinbase_assets.storage.partition_tables import PartitionTables
from coinbase_assets.storage.paths import PATH_METADATA


def build_candle_rollup(
    rollup: Rollup, start: date, deployment: Deployment = OWN
) -> dg.AssetsDefinition:
    """Return the asset that rolls up the history, from the month of `start` on."""

    @dg.asset(
        key=deployment.key(CANDLE_ROLLUP, rollup),
        partitions_def=monthly_partitions(start),
        backfill_policy=dg.BackfillPolicy.multi_run(MONTHS_PER_RUN),
        ins={
            "history": dg.AssetIn(
                key=deployment.key(CANDLE_HISTORY, rollup.made_of),
                partition_mapping=dg.TimeWindowPartitionMapping(
                    end_offset=int(rollup.granularity.spans_months),
                    allow_nonexistent_upstream_partitions=True,
                ),
                metadata={"allow_missing_partitions": True},
            )
        },
        io_manager_key=deployment.lake,
        group_name=rollup.group,
        kinds={"azure", "parquet"},
        metadata={PATH_METADATA: CANDLE_ROLLUP.path(rollup), **CANDLE_METADATA},
        description=(
            f"Closed {rollup.granularity} candles of {rollup.product}, built from the"
            f" {rollup.made_of.granularity} candles; each belongs to the month in which it begins."
            " `candles_left_out` counts those whose bucket is not collected to its end."
        ),
    )
    def candle_rollup(context: dg.AssetExecutionContext, history: PartitionTables) -> dg.Output:
        return dg.Output(_months(rollup, context.partition_keys, history))

    return candle_rollup


def _months(
    rollup: Rollup, months: Sequence[str], history: PartitionTables
) -> Iterator[tuple[str, pa.Table]]:
    """Yield the key and the table of each month, with at most two months of history in memory."""
    held: dict[str, pa.Table] = {}
    for month in months:
        sources = [key for key in source_months(rollup.granularity, month) if key in history]
        held = {key: held[key] if key in held else history[key] for key in sources}
        yield month, roll_up(rollup, month, list(held.values()))
