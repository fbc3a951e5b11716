"""Hourly candles of ETH-EUR, and how tests store them."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pyarrow as pa

from coinbase_assets.candles.calendar import DAY
from coinbase_assets.candles.datasets import CANDLE_HISTORY, Dataset
from coinbase_assets.candles.months import with_raw_days
from coinbase_assets.candles.series import Series
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.stand_in.tables import candle_table

ETH = Series.parse("ETH-EUR:1h")
HOUR = timedelta(hours=1)


def candles(first: datetime, end: datetime) -> pa.Table:
    """Return hourly candles; the volume is the hours since the start of 2023."""
    hours = int((end - first) / HOUR)
    times = [first + n * HOUR for n in range(hours)]
    volumes = [(time - datetime(2023, 1, 1, tzinfo=UTC)) / HOUR for time in times]
    return candle_table(times, volume=volumes)


def store_history(lake: ParquetStore, series: Series, table: pa.Table) -> None:
    months = pd.Series(table["time"].to_pandas().dt.strftime("%Y-%m"))
    for month in months.unique():
        part = table.filter(pa.array(months == month))
        lake.put(CANDLE_HISTORY.path(series).format(partition=month), part, None)


def january(first: int, last: int, collected: int | None = None) -> pa.Table:
    """Return hourly candles of these days of January; by default all of them were collected."""
    start = datetime(2024, 1, 1, tzinfo=UTC)
    table = candles(start + (first - 1) * DAY, start + last * DAY)
    ends = {number: start + number * DAY for number in range(first, (collected or last) + 1)}
    days = {
        f"2024-01-{number:02}": {"answered_through": end.isoformat()}
        for number, end in ends.items()
    }
    return with_raw_days(table, days)


def store_january(lake: ParquetStore, dataset: Dataset, table: pa.Table) -> None:
    lake.put(dataset.path(ETH).format(partition="2024-01"), table, None)


WHOLE = candles(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC))
