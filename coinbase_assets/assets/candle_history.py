"""`candle_history/<product>/<granularity>`: all candles of a series, one partition a UTC month."""

from collections.abc import Iterator, Sequence
from datetime import date
from itertools import groupby

import dagster as dg
import pyarrow as pa

from coinbase_assets.assets import raw_candles
from coinbase_assets.assets.columns import CANDLE_METADATA
from coinbase_assets.candles import empty_candles, merge_candles, validate_candles
from coinbase_assets.days import first_and_last
from coinbase_assets.fields import table_fields, with_fields
from coinbase_assets.partitions import (
    MONTHS_PER_RUN,
    month_of,
    month_range,
    monthly_partitions,
)
from coinbase_assets.series import Series
from coinbase_assets.storage.partition_tables import PartitionTables
from coinbase_assets.storage.paths import PATH_METADATA

KIND = "candle_history"
PARTITION = "month"


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
        metadata={PATH_METADATA: series.blob_path(KIND, PARTITION), **CANDLE_METADATA},
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
        tables = []
        if month == month_of_next:
            tables = [table for _, table in next_days]
            month_of_next, next_days = next(collected, (None, iter(())))
        expected = sum(month_of(day) == month for day in days)
        yield month, join_days(series, month, tables, expected)


def join_days(series: Series, month: str, days: Sequence[pa.Table], expected: int) -> pa.Table:
    """The month's candles from the raw days there are of the `expected` ones.

    Its version is the sum of theirs, so it grows with every day that comes or is newer.
    Raises InvalidCandles.
    """
    oldest_first = sorted(days, key=_version)
    candles = merge_candles(empty_candles(), *oldest_first)
    validate_candles(candles, series.granularity, *month_range(month))
    return with_fields(
        candles,
        {
            "series": str(series),
            "source": raw_candles.KIND,
            "version": str(sum(map(_version, days))),
            "days": str(len(days)),
            "days_missing": str(expected - len(days)),
            **first_and_last(candles),
        },
    )


def _version(day: pa.Table) -> int:
    return int(table_fields(day)["version"])
