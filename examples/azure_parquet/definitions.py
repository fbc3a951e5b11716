"""Three assets of a weather station, stored as Parquet in Azure by AzureParquetIOManager.

Set AZURE_STORAGE_CONNECTION_STRING, then run `dagster dev -f definitions.py`.
"""

import dagster as dg
import pandas as pd
import polars as pl
import pyarrow as pa

from coinbase_assets.storage.io_manager import AzureParquetIOManager
from coinbase_assets.storage.resource import AzureStorageResource

DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-04")
HOURS = 24


@dg.asset
def stations() -> pd.DataFrame:
    """Return the stations. The index is stored as the column `station`, and restored."""
    heights = {"Fichtelberg": 1213, "Zugspitze": 2956}
    return pd.DataFrame({"station": [*heights], "metres": [*heights.values()]}).set_index("station")


@dg.asset(partitions_def=DAYS)
def temperatures(context: dg.AssetExecutionContext, stations: pd.DataFrame) -> pa.Table:
    """Return a day's temperature of each station at each hour, in degrees Celsius."""
    day = pd.Timestamp(context.partition_key, tz="UTC")
    readings = [
        {"station": station, "time": day + pd.Timedelta(hours=hour), "celsius": 15 - metres / 150}
        for station, metres in stations["metres"].items()
        for hour in range(HOURS)
    ]
    return pa.Table.from_pylist(readings)


@dg.asset
def means(temperatures: pl.DataFrame) -> pl.DataFrame:
    """Return the mean temperature of each station; the input joins all days."""
    return temperatures.group_by("station").agg(pl.col("celsius").mean()).sort("station")


defs = dg.Definitions(
    assets=[stations, temperatures, means],
    resources={
        "io_manager": AzureParquetIOManager(
            storage=AzureStorageResource(
                connection_string=dg.EnvVar("AZURE_STORAGE_CONNECTION_STRING")
            ),
            container="weather",
            prefix="alps",
        )
    },
)
