"""`<product>/<granularity>/candle_history`: all candles of a series, a partition per UTC month."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import dagster as dg
import pyarrow as pa

from coinbase_assets.assets.partitions import MONTHS_PER_RUN, monthly_partitions
from coinbase_assets.assets.table_schema import CANDLE_METADATA
from coinbase_assets.candles.calendar import day_start, days_between, month_of, month_range
from coinbase_assets.candles.datasets import CANDLE_HISTORY, RAW_CANDLES
from coinbase_assets.candles.months import join_days, unchanged_days
from coinbase_assets.candles.series import Series
from coinbase_assets.candles.table import InvalidCandles
from coinbase_assets.dagster_instance.deployment import OWN, Deployment
from coinbase_assets.lake.stock import stored_partitions
from coinbase_assets.storage.declared_columns import check_input_columns
from coinbase_assets.storage.errors import BlobDamaged, PartitionMissing
from coinbase_assets.storage.io_manager import AzureParquetIOManager
from coinbase_assets.storage.partition_tables import PartitionTables
from coinbase_assets.storage.paths import PATH_METADATA
from coinbase_assets.storage.stored_blob import StoredBlob

if TYPE_CHECKING:
    from coinbase_assets.storage.parquet_store import ParquetStore


def build_candle_history(
    series: Series, start: date, deployment: Deployment = OWN
) -> dg.AssetsDefinition:
    """Return the asset that joins the raw days of a series, from the month of `start` on.

    A month is joined from all its raw days in the lake. The asset reads them itself, because
    Dagster would load only days that have a partition, not those before `start`.
    """

    @dg.asset(
        key=deployment.key(CANDLE_HISTORY, series),
        partitions_def=monthly_partitions(start),
        backfill_policy=dg.BackfillPolicy.multi_run(MONTHS_PER_RUN),
        deps=[
            dg.AssetDep(
                deployment.key(RAW_CANDLES, series),
                partition_mapping=dg.TimeWindowPartitionMapping(
                    allow_nonexistent_upstream_partitions=True
                ),
            )
        ],
        io_manager_key=deployment.lake,
        required_resource_keys={deployment.lake},
        group_name=series.group,
        kinds={"azure", "parquet"},
        metadata={PATH_METADATA: CANDLE_HISTORY.path(series), **CANDLE_METADATA},
        description=(
            f"Closed {series.granularity} candles of {series.product}, joined from the month's raw"
            " days, with unique and ascending times. A materialised month may lack days:"
            " `days_missing` counts those that are not collected yet."
        ),
    )
    def candle_history(context: dg.AssetExecutionContext) -> dg.Output:
        lake: AzureParquetIOManager = deployment.lake_of(context)
        raw = _stored_days(lake.store, series, context.partition_keys)
        first, _ = month_range(context.partition_keys[0])
        begun = days_between(max(first, day_start(str(start))), datetime.now(UTC))
        expected = Counter(map(month_of, {*begun, *raw}))
        months = {month: expected[month] for month in context.partition_keys}
        return dg.Output(join_months(series, months, raw, lake.store))

    return candle_history


def _stored_days(store: "ParquetStore", series: Series, months: Sequence[str]) -> PartitionTables:
    """Return the raw days in the lake, at least all those of these months."""
    prefix = os.path.commonprefix(list(months))  # noqa: RUF071 (keys, not folders)
    blobs = stored_partitions(store, RAW_CANDLES, series, within=prefix)

    def load(day: str) -> pa.Table:
        table = store.get_listed(blobs[day])
        check_input_columns(store.uri(blobs[day].path), table.schema, CANDLE_METADATA)
        return table

    return PartitionTables(blobs, load)


def join_months(
    series: Series, months: Mapping[str, int], raw: PartitionTables, store: "ParquetStore"
) -> Iterator[tuple[str, pa.Table]]:
    """Yield the key and the table of each month.

    `months` maps each key to the number of the month's days that have begun. A raw day that the
    stored month already holds unchanged is not downloaded again.
    """
    stored = store.find_partitions(CANDLE_HISTORY.path(series), months)
    for month, expected in months.items():
        days = raw.only([day for day in raw if month_of(day) == month])
        held = _held(store, stored[month], days) if month in stored else {}
        fetched = days.only(days.keys() - held.keys())
        tables = {**held, **dict(fetched.items())}
        yield month, join_days(series, month, tables, expected, RAW_CANDLES.name)


def _held(
    store: "ParquetStore", month: StoredBlob, days: PartitionTables
) -> Mapping[str, pa.Table]:
    """Return the raw days that the stored month holds unchanged.

    The result is empty if the stored month is damaged, was written by version 0.1 or has just been
    deleted. All its raw days are then downloaded.
    """
    try:
        history = store.get(month.path)
        return unchanged_days(history, {key: blob.fields for key, blob in days.blobs.items()})
    except (BlobDamaged, PartitionMissing, InvalidCandles):
        return {}
