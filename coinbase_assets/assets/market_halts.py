"""`market_halts`: intervals in which no product was traded: halts of the exchange."""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import TYPE_CHECKING

import dagster as dg
import pyarrow as pa

from coinbase_assets.assets.partitions import MONTHS_PER_RUN, monthly_partitions
from coinbase_assets.assets.table_schema import column_metadata
from coinbase_assets.candles.datasets import CANDLE_COVERAGE, MARKET_HALTS
from coinbase_assets.candles.series import Series
from coinbase_assets.completeness.halts import HALT_SCHEMA, find_halts
from coinbase_assets.dagster_instance.deployment import OWN, Deployment
from coinbase_assets.storage.concurrency import map_concurrently
from coinbase_assets.storage.io_manager import AzureParquetIOManager
from coinbase_assets.storage.paths import PATH_METADATA
from coinbase_assets.table_metadata import with_fields

if TYPE_CHECKING:
    from coinbase_assets.storage.parquet_store import ParquetStore


_DESCRIPTIONS = {
    "start": "Start of the first bucket without a trade, UTC",
    "end": "End of the last bucket without a trade, exclusive, UTC",
    "series": "The series whose proven holes show the halt, separated by commas",
}
_COLUMNS = column_metadata(HALT_SCHEMA, _DESCRIPTIONS, unique="start")


def build_market_halts(
    series: Sequence[Series], start: date, deployment: Deployment = OWN
) -> dg.AssetsDefinition:
    """Return the asset that finds halts in the coverage of `series`, from the month of `start`."""

    @dg.asset(
        key=deployment.key(MARKET_HALTS),
        partitions_def=monthly_partitions(start),
        backfill_policy=dg.BackfillPolicy.multi_run(MONTHS_PER_RUN),
        deps=[deployment.key(CANDLE_COVERAGE, each) for each in series],
        io_manager_key=deployment.lake,
        required_resource_keys={deployment.lake},
        group_name="catalogue",
        kinds={"azure", "parquet"},
        metadata={
            PATH_METADATA: MARKET_HALTS.path(),
            **_COLUMNS,
        },
        description=(
            "Halts of the exchange. A halt is a proven hole of at least 15 minutes that at least"
            " two products share, and during which no configured series was traded."
        ),
    )
    def market_halts(context: dg.AssetExecutionContext) -> dg.Output:
        lake: AzureParquetIOManager = deployment.lake_of(context)
        return dg.Output(_halts(series, context.partition_keys, lake.store))

    return market_halts


def _halts(
    series: Sequence[Series], months: Sequence[str], store: "ParquetStore"
) -> Iterator[tuple[str, pa.Table]]:
    found = {each: store.find_partitions(CANDLE_COVERAGE.path(each), months) for each in series}

    def halts_of(month: str) -> tuple[str, pa.Table]:
        ledgers = {each: blobs[month] for each, blobs in found.items() if month in blobs}
        halts = find_halts({each: store.get(blob.path) for each, blob in ledgers.items()})
        version = sum(blob.version for blob in ledgers.values())
        return month, with_fields(halts, {"version": str(version)})

    return map_concurrently(halts_of, months)
