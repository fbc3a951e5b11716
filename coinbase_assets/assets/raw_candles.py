"""`raw_candles/<product>/<granularity>`: what the exchange answered, one partition a UTC day."""

from collections.abc import Iterator, Sequence
from datetime import date
from itertools import groupby

import dagster as dg
import pyarrow as pa

from coinbase_assets.assets.columns import CANDLE_METADATA
from coinbase_assets.candles import validate_candles
from coinbase_assets.days import DAY, Day, cut_days
from coinbase_assets.exchange.resource import BlockingExchange, ExchangeResource
from coinbase_assets.partitions import daily_partitions, day_start, days_per_run
from coinbase_assets.series import Series
from coinbase_assets.storage.io_manager import (
    AzureParquetIOManager,
    Update,
    leave_as_it_is,
)
from coinbase_assets.storage.parquet_store import ParquetStore, StoredBlob
from coinbase_assets.storage.paths import PATH_METADATA

KIND = "raw_candles"
PARTITION = "date"


def build_raw_candles(series: Series, start: date) -> dg.AssetsDefinition:
    """The asset that collects a series from the day `start` on."""
    blob_path = series.blob_path(KIND, PARTITION)

    @dg.asset(
        key=series.asset_key(KIND),
        partitions_def=daily_partitions(start),
        backfill_policy=dg.BackfillPolicy.multi_run(days_per_run(series.granularity)),
        io_manager_key="lake",
        group_name=series.group,
        kinds={"coinbase", "azure", "parquet"},
        metadata={PATH_METADATA: blob_path, **CANDLE_METADATA},
        description=(
            f"Closed {series.granularity} candles of {series.product} as the Coinbase Exchange"
            " answers them, one blob a UTC day. A day without trades is an empty blob."
        ),
    )
    def raw_candles(
        context: dg.AssetExecutionContext,
        exchange: ExchangeResource,
        lake: dg.ResourceParam[AzureParquetIOManager],
    ) -> dg.Output:
        paths = {key: blob_path.format(partition=key) for key in context.partition_keys}
        stored = lake.store.find(paths.values())
        recorded = context.instance.get_materialized_partitions(context.asset_key)
        settled = {
            key
            for key, path in paths.items()
            if key not in recorded and path in stored and is_settled(stored[path])
        }
        return dg.Output(_updates(series, list(paths), settled, exchange, lake.store))

    return raw_candles


def is_settled(blob: StoredBlob) -> bool:
    return blob.fields.get("settled") == "true"


def _updates(
    series: Series,
    keys: Sequence[str],
    settled: set[str],
    exchange: ExchangeResource,
    store: ParquetStore,
) -> Iterator[tuple[str, Update]]:
    """Each day's key and what to do with its blob; settled days are not asked for again."""
    with exchange.get_client() as client:
        for is_settled_span, span in groupby(keys, key=settled.__contains__):
            if is_settled_span:
                yield from ((key, leave_as_it_is) for key in span)
            else:
                yield from _fetched(series, list(span), client, exchange.api_url, store)


def _fetched(
    series: Series, keys: Sequence[str], client: BlockingExchange, source: str, store: ParquetStore
) -> Iterator[tuple[str, Update]]:
    starts = [day_start(key) for key in keys]
    answers = client.fetch_candles(series, starts[0], starts[-1] + DAY)
    for key, day in zip(keys, cut_days(answers, series, starts), strict=True):
        yield key, _update(day, source, store)


def _update(day: Day, source: str, store: ParquetStore) -> Update:
    def update(stored: StoredBlob | None) -> pa.Table:
        merged = day
        if stored:
            table = store.get(stored.path, etag=stored.etag)
            merged = day.merged_with(Day.from_table(day.series, day.start, table))
        validate_candles(merged.candles, day.series.granularity, day.start, day.start + DAY)
        return merged.to_table(source)

    return update
