"""A day added by this project: its blob put, and its month joined again."""

from functools import cache
from typing import Any

import pyarrow.parquet as pq
from timed import serve

from coinbase_assets.assets import candle_history
from coinbase_assets.candles.calendar import month_of, month_range
from coinbase_assets.candles.datasets import CANDLE_HISTORY, RAW_CANDLES
from coinbase_assets.candles.series import Series
from coinbase_assets.storage.azure_blobs import AzureBlobs
from coinbase_assets.storage.client import blob_service
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets.storage.partition_tables import PartitionTables


@cache
def loaded(file: str) -> Any:
    return pq.read_table(file)


def add_day(connection_string: str, container: str, day: str, file: str, **_: str) -> None:
    series, month = Series.parse("ETH-EUR:1m"), month_of(day)
    raw, history = RAW_CANDLES.path(series), CANDLE_HISTORY.path(series)
    with blob_service(connection_string) as service:
        store = ParquetStore(AzureBlobs(service, container))
        store.put(raw.format(partition=day), loaded(file), None)
        start, end = month_range(month)
        keys = [f"{month}-{number:02}" for number in range(1, (end - start).days + 1)]
        blobs = store.find_partitions(raw, keys)
        days = PartitionTables(blobs, lambda key: store.get(raw.format(partition=key)))
        ((_, joined),) = candle_history.join_months(series, {month: len(keys)}, days, store)
        path = history.format(partition=month)
        store.put(path, joined, store.find([path])[path])


serve(add_day)
