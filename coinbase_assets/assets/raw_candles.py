"""`<product>/<granularity>/raw_candles`: what the exchange answered, one partition per UTC day."""

from collections.abc import Iterator
from datetime import date, datetime

import dagster as dg

from coinbase_assets.assets.exchange_failures import exchange_failures
from coinbase_assets.assets.partitions import daily_partitions, days_per_run
from coinbase_assets.assets.table_schema import CANDLE_METADATA
from coinbase_assets.candles.calendar import DAY, day_start
from coinbase_assets.candles.datasets import RAW_CANDLES
from coinbase_assets.candles.days import is_settled
from coinbase_assets.candles.series import Series
from coinbase_assets.collection.day_updates import DaysToCollect, DayUpdates
from coinbase_assets.dagster_instance.deployment import OWN, Deployment
from coinbase_assets.dagster_instance.retried_runs import recorded_since_first_try
from coinbase_assets.dagster_instance.run_tags import HEALING, LIVE, LIVE_GIVE_UP_AFTER, WITH_TRADES
from coinbase_assets.exchange.resource import ExchangeResource
from coinbase_assets.storage.io_manager import AzureParquetIOManager, Update, storage_failures
from coinbase_assets.storage.paths import PATH_METADATA
from coinbase_assets.storage.stored_blob import StoredBlob


def build_raw_candles(
    series: Series, start: date, deployment: Deployment = OWN
) -> dg.AssetsDefinition:
    """Return the asset that collects a series, from the day `start` on."""

    @dg.asset(
        key=deployment.key(RAW_CANDLES, series),
        partitions_def=daily_partitions(start),
        backfill_policy=dg.BackfillPolicy.multi_run(days_per_run(series.granularity)),
        io_manager_key=deployment.lake,
        required_resource_keys={deployment.exchange, deployment.lake},
        group_name=series.group,
        kinds={"source", "azure", "parquet"},
        metadata={PATH_METADATA: RAW_CANDLES.path(series), **CANDLE_METADATA},
        description=(
            f"Closed {series.granularity} candles of {series.product}, as answered by the Coinbase"
            " Exchange, one blob per UTC day; it is empty if nothing was traded. Closed days are"
            " compared with the exchange's longer candles: `witness` in its metadata says which."
        ),
    )
    def raw_candles(context: dg.AssetExecutionContext) -> dg.Output:
        exchange: ExchangeResource = deployment.exchange_of(context)
        lake: AzureParquetIOManager = deployment.lake_of(context)
        with storage_failures():
            stored = lake.store.find_partitions(RAW_CANDLES.path(series), context.partition_keys)
        live = LIVE in context.run.tags
        if live:
            since = {key: _answered_through(blob) for key, blob in stored.items()}
            kept = {key for key, through in since.items() if through >= day_start(key) + DAY}
        else:
            recorded = _recorded_before(context)
            since = {}
            kept = {key for key in stored if key not in recorded and is_settled(stored[key].fields)}
        client = exchange.get_client(live, LIVE_GIVE_UP_AFTER if live else None)
        healing = context.run.tags.get(HEALING)
        plan = DaysToCollect(
            series,
            context.partition_keys,
            stored,
            kept,
            since,
            live,
            healing=healing is not None,
            all_trades=healing == WITH_TRADES,
        )
        updates = DayUpdates(plan, lake.store, exchange.api_url, context.log).updates(client)
        return dg.Output(_explained(updates, plan, exchange.api_url))

    return raw_candles


def _recorded_before(context: dg.AssetExecutionContext) -> set[str]:
    """Return the partitions that were recorded before this run, and before the runs it retries."""
    instance, asset = context.instance, context.asset_key
    recorded = instance.get_materialized_partitions(asset)
    return recorded - recorded_since_first_try(
        instance, context.run, asset, list(context.partition_keys)
    )


def _explained(
    updates: Iterator[tuple[str, Update]], plan: DaysToCollect, url: str
) -> Iterator[tuple[str, Update]]:
    """Yield the updates. Raises dg.Failure in place of an ExchangeError."""
    with exchange_failures(f"{plan.series}, {plan.keys[0]} to {plan.keys[-1]}", url):
        yield from updates


def _answered_through(blob: StoredBlob) -> datetime:
    return datetime.fromisoformat(blob.fields["answered_through"])
