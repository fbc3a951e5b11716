"""`raw_candles/<product>/<granularity>`: what the exchange answered, one partition a UTC day."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby

import dagster as dg
import pyarrow as pa

from coinbase_assets.assets.columns import CANDLE_METADATA
from coinbase_assets.candles import validate_candles
from coinbase_assets.days import DAY, Day, cut_days
from coinbase_assets.exchange.resource import BlockingExchange, ExchangeResource
from coinbase_assets.fields import with_fields
from coinbase_assets.partitions import daily_partitions, day_start, days_per_run
from coinbase_assets.revisions import (
    REVISION_SCHEMA,
    compare_days,
    count_changes,
    revisions_path,
)
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
# The tag of runs that ask only for what came since the last answer. They are served first, and give
# up after so many seconds, since the next one is soon.
LIVE = "coinbase_assets/live"
LIVE_GIVE_UP_AFTER = 10.0


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
        stored = lake.store.find_partitions(blob_path, context.partition_keys)
        live = LIVE in context.run.tags
        if live:
            since = {key: _answered_through(blob) for key, blob in stored.items()}
            kept = {key for key, through in since.items() if through >= day_start(key) + DAY}
        else:
            recorded = context.instance.get_materialized_partitions(context.asset_key)
            since = {}
            kept = {key for key in stored if key not in recorded and is_settled(stored[key])}
        client = exchange.get_client(live, LIVE_GIVE_UP_AFTER if live else None)
        plan = _Plan(series, context.partition_keys, kept, since)
        return dg.Output(_updates(plan, client, exchange.api_url, lake.store))

    return raw_candles


def is_settled(blob: StoredBlob) -> bool:
    return blob.fields.get("settled") == "true"


def _answered_through(blob: StoredBlob) -> datetime:
    return datetime.fromisoformat(blob.fields["answered_through"])


@dataclass(frozen=True)
class _Plan:
    """Days to collect: those `kept` are not asked for, others from their start, or from `since`."""

    series: Series
    days: Sequence[str]
    kept: Collection[str]
    since: Mapping[str, datetime]


def _updates(
    plan: _Plan,
    client: AbstractContextManager[BlockingExchange],
    source: str,
    store: ParquetStore,
) -> Iterator[tuple[str, Update]]:
    """Each day's key and what to do with its blob."""
    with client as exchange:
        for is_kept, span in groupby(plan.days, key=plan.kept.__contains__):
            days = list(span)
            if is_kept:
                yield from ((day, leave_as_it_is) for day in days)
                continue
            starts = [day_start(day) for day in days]
            since = plan.since.get(days[0], starts[0])
            answers = exchange.fetch_candles(plan.series, since, starts[-1] + DAY)
            for key, day in zip(days, cut_days(answers, plan.series, starts), strict=True):
                yield key, _update(day, source, store)


def _update(day: Day, source: str, store: ParquetStore) -> Update:
    """Merge the day into its blob; first record what that changes of the candles stored.

    An update that loses the race for the blob runs again and records again, under the same name.
    If by then nothing changes, the first record stays: the exchange did answer so, it may be the
    winner's own of the same second, and normal operation deletes nothing.
    """

    def update(stored: StoredBlob | None) -> pa.Table:
        before = _stored_day(day, stored, store) if stored else None
        merged = day.merged_with(before) if before else day
        validate_candles(merged.candles, day.series.granularity, day.start, day.start + DAY)
        table = merged.to_table(source)
        revisions = compare_days(before, day) if before else REVISION_SCHEMA.empty_table()
        if revisions.num_rows:
            path = revisions_path(day)
            store.put(path, revisions, store.find([path]).get(path))
        return with_fields(table, count_changes(revisions))

    return update


def _stored_day(day: Day, stored: StoredBlob, store: ParquetStore) -> Day:
    """The same day as it is stored. Raises BlobChanged if the blob is no longer that one."""
    return Day.from_table(day.series, day.start, store.get(stored.path, etag=stored.etag))
