"""`raw_candles/<product>/<granularity>`: what the exchange answered, one partition a UTC day."""

from datetime import date, datetime

import dagster as dg

from coinbase_assets.assets.columns import CANDLE_METADATA
from coinbase_assets.day_updates import DaysToCollect, DayUpdates
from coinbase_assets.days import DAY
from coinbase_assets.exchange.resource import ExchangeResource
from coinbase_assets.partitions import daily_partitions, day_start, days_per_run
from coinbase_assets.series import Series
from coinbase_assets.storage.io_manager import AzureParquetIOManager
from coinbase_assets.storage.paths import PATH_METADATA
from coinbase_assets.storage.stored_blob import StoredBlob

KIND = "raw_candles"
PARTITION = "date"
# The tag of runs that ask only for what came since the last answer. They are served first, and give
# up after so many seconds, since the next one is soon.
LIVE = "coinbase_assets/live"
LIVE_GIVE_UP_AFTER = 10.0


def blob_path(series: Series) -> str:
    """The template of the days' blobs."""
    return series.blob_path(KIND, PARTITION)


def build_raw_candles(series: Series, start: date) -> dg.AssetsDefinition:
    """The asset that collects a series from the day `start` on."""

    @dg.asset(
        key=series.asset_key(KIND),
        partitions_def=daily_partitions(start),
        backfill_policy=dg.BackfillPolicy.multi_run(days_per_run(series.granularity)),
        io_manager_key="lake",
        group_name=series.group,
        kinds={"coinbase", "azure", "parquet"},
        metadata={PATH_METADATA: blob_path(series), **CANDLE_METADATA},
        description=(
            f"Closed {series.granularity} candles of {series.product} as the Coinbase Exchange"
            " answers them, one blob a UTC day. A day without trades is an empty blob. Closed days"
            " are compared with the exchange's daily and hourly candles (`compared_with`)."
        ),
    )
    def raw_candles(
        context: dg.AssetExecutionContext,
        exchange: ExchangeResource,
        lake: dg.ResourceParam[AzureParquetIOManager],
    ) -> dg.Output:
        stored = lake.store.find_partitions(blob_path(series), context.partition_keys)
        live = LIVE in context.run.tags
        if live:
            since = {key: _answered_through(blob) for key, blob in stored.items()}
            kept = {key for key, through in since.items() if through >= day_start(key) + DAY}
        else:
            recorded = context.instance.get_materialized_partitions(context.asset_key)
            since = {}
            kept = {key for key in stored if key not in recorded and is_settled(stored[key])}
        client = exchange.get_client(live, LIVE_GIVE_UP_AFTER if live else None)
        plan = DaysToCollect(series, context.partition_keys, stored, kept, since, live)
        return dg.Output(DayUpdates(plan, lake.store, exchange.api_url, context.log).all(client))

    return raw_candles


def is_settled(blob: StoredBlob) -> bool:
    return blob.fields.get("settled") == "true"


def _answered_through(blob: StoredBlob) -> datetime:
    return datetime.fromisoformat(blob.fields["answered_through"])
