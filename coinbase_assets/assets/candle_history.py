"""`candle_history/<product>/<granularity>`: all candles of a series, one partition a UTC month."""

from collections.abc import Iterator, Sequence
from datetime import date
from itertools import groupby

import dagster as dg
import pyarrow as pa

from coinbase_assets.assets import raw_candles
from coinbase_assets.assets.columns import CANDLE_METADATA
from coinbase_assets.months import join_days
from coinbase_assets.partitions import MONTHS_PER_RUN, month_of, monthly_partitions
from coinbase_assets.series import Series
from coinbase_assets.storage.partition_tables import PartitionTables
from coinbase_assets.storage.paths import PATH_METADATA

KIND = "candle_history"
PARTITION = "month"


def blob_path(series: Series) -> str:
    """The template of the months' blobs."""
    return series.blob_path(KIND, PARTITION)


def build_candle_history(series: Series, start: date) -> dg.AssetsDefinition:
    """The asset that joins a series' raw days, from the month of `start` on."""

    @dg.asset(
        key=series.asset_key(KIND),
        partitions_def=monthly_partitions(start),
        backfill_policy=dg.BackfillPolicy.multi_run(MONTHS_PER_RUN),
        ins={
            "raw": dg.AssetIn(
                key=series.asset_key(raw_candles.KIND),
                partition_mapping=dg.TimeWindowPartitionMapping(
                    allow_nonexistent_upstream_partitions=True
                ),
                metadata={"allow_missing_partitions": True},
            )
        },
        io_manager_key="lake",
        group_name=series.group,
        kinds={"azure", "parquet"},
        metadata={PATH_METADATA: blob_path(series), **CANDLE_METADATA},
        description=(
            f"Closed {series.granularity} candles of {series.product}, ascending, each once: the"
            " month's raw days joined. Days not collected yet are counted in `days_missing`."
        ),
    )
    def candle_history(context: dg.AssetExecutionContext, raw: PartitionTables) -> dg.Output:
        days = context.asset_partition_keys_for_input("raw")
        return dg.Output(_months(series, context.partition_keys, days, raw))

    return candle_history


def _months(
    series: Series, months: Sequence[str], days: Sequence[str], raw: PartitionTables
) -> Iterator[tuple[str, pa.Table]]:
    """Each month's key and table; the raw days stream by, so that one month is all that is held."""
    collected = groupby(raw.items(), key=lambda item: month_of(item[0]))
    month_of_next, next_days = next(collected, (None, iter(())))
    for month in months:
        tables: dict[str, pa.Table] = {}
        if month == month_of_next:
            tables = dict(next_days)
            month_of_next, next_days = next(collected, (None, iter(())))
        expected = sum(month_of(day) == month for day in days)
        yield month, join_days(series, month, tables, expected, raw_candles.KIND)
