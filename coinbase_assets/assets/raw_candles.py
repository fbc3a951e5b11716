"""`<product>/<granularity>/raw_candles`: what the exchange answered, one partition per UTC day."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import date

import dagster as dg

from coinbase_assets.assets.exchange_failures import exchange_failures
from coinbase_assets.assets.partitions import daily_partitions, days_per_run
from coinbase_assets.assets.table_schema import CANDLE_METADATA
from coinbase_assets.candles.datasets import RAW_CANDLES
from coinbase_assets.candles.days import is_settled
from coinbase_assets.candles.series import Series
from coinbase_assets.collection.day_updates import DaysToCollect, DayUpdates
from coinbase_assets.collection.live_questions import live_days, live_questions
from coinbase_assets.dagster_instance.deployment import OWN, Deployment
from coinbase_assets.dagster_instance.retried_runs import recorded_since_first_try
from coinbase_assets.dagster_instance.run_tags import HEALING, LIVE, LIVE_GIVE_UP_AFTER, WITH_TRADES
from coinbase_assets.exchange.resource import BlockingExchange, ExchangeResource
from coinbase_assets.storage.io_manager import AzureParquetIOManager, Update, storage_failures
from coinbase_assets.storage.paths import PATH_METADATA
from coinbase_assets.storage.stored_blob import StoredBlob


def build_raw_candles(
    series: Series, start: date, deployment: Deployment = OWN, together: Sequence[Series] = ()
) -> dg.AssetsDefinition:
    """Return the asset that collects a series, from the day `start` on.

    Live runs collect series of those in `together`.
    """

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
        if LIVE in context.run.tags:
            client = exchange.get_client(urgent=True, give_up_after=LIVE_GIVE_UP_AFTER)
            client = _asking_for_all(client, context, lake, others)
            plan = live_days(series, context.partition_keys, stored)
        else:
            client = exchange.get_client()
            plan = _days_to_collect(context, series, stored)
        updates = DayUpdates(plan, lake.store, exchange.api_url, context.log).updates(client)
        return dg.Output(_explained(updates, plan, exchange.api_url))

    others = {deployment.key(RAW_CANDLES, each): each for each in together}
    return raw_candles


def _days_to_collect(
    context: dg.AssetExecutionContext, series: Series, stored: Mapping[str, StoredBlob]
) -> DaysToCollect:
    recorded, healing = _recorded_before(context), context.run.tags.get(HEALING)
    return DaysToCollect(
        series,
        context.partition_keys,
        stored,
        kept={key for key in stored if key not in recorded and is_settled(stored[key].fields)},
        since={},
        live=False,
        healing=healing is not None,
        all_trades=healing == WITH_TRADES,
    )


@contextmanager
def _asking_for_all(
    client: AbstractContextManager[BlockingExchange],
    context: dg.AssetExecutionContext,
    lake: AzureParquetIOManager,
    others: Mapping[dg.AssetKey, Series],
) -> Iterator[BlockingExchange]:
    """Open the client; at the first step of the run, ask for the series of all steps."""
    selected = context.run.asset_selection or set()
    series = [each for key, each in others.items() if key in selected]
    with client as exchange:
        exchange.ask_ahead(live_questions(lake.store, series, context.partition_keys))
        yield exchange


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
