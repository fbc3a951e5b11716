"""What a lake lacks beyond damaged files: days, revisions, listings; and what proves contents."""

from datetime import UTC, date, datetime, timedelta
from io import BytesIO

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from azure.storage.blob import ContainerClient, StandardBlobTier

from coinbase_assets.automation.collector import Collector
from coinbase_assets.automation.healing import plan_healing, verify_series
from coinbase_assets.candles.blob_rules import table_digest
from coinbase_assets.candles.datasets import CANDLE_CHART
from coinbase_assets.candles.months import join_days
from coinbase_assets.candles.series import Series
from coinbase_assets.lake.mending import share_of_night
from coinbase_assets.storage.parquet_store import DAMAGED, ParquetStore
from coinbase_assets.storage.stored_blob import StoredBlob
from coinbase_assets.table_metadata import with_fields
from coinbase_assets_tests.lake.test_damage import (
    DAY,
    DAYS,
    LEDGER,
    MONTH,
    RAW,
    ROLLUPS,
    SERIES,
    TODAY,
    Blob,
    Lake,
    blobs_of,
    collected,
    collector,
    collector_of,
    damaged,
    exchange,
    one_value,
    read,
    status_of,
    upload,
    values,
    written,
)
from coinbase_assets_tests.stand_in.exchange import StandInExchange
from coinbase_assets_tests.stand_in.markets import SyntheticMarket

__all__ = ["collected", "collector", "damaged", "exchange"]

CHART = CANDLE_CHART.path(SERIES)
LISTING = "listings/product=ETH-EUR/listing.parquet"
REVISIONS = f"candle_revisions/{DAY.split('/', 1)[1].rpartition('/')[0]}/"


def forged(container: ContainerClient, path: str, blob: Blob) -> None:
    """Alter a value, and make the metadata belong to the new bytes."""
    content = written(one_value(read(blob.content)))
    upload(container, path, Blob(content, {**blob.metadata}))
    md5 = container.get_blob_client(path).get_blob_properties().content_settings.content_md5
    described = {"bytes": str(len(content)), "md5": bytes(md5 or b"").hex()}
    container.get_blob_client(path).set_blob_metadata({**blob.metadata, **described})


@pytest.mark.parametrize("path", [DAY, pytest.param(MONTH, marks=pytest.mark.soak)])
def test_verify_finds_value_altered_with_its_metadata(
    path: str,
    damaged: ContainerClient,
    lake: ParquetStore,
    collected: Lake,
    collector: Collector,
) -> None:
    forged(damaged, path, collected[path])
    assert status_of(damaged, lake).damage == []
    assert verify_series(lake, SERIES, ROLLUPS) == [path]
    assert "not those that were stored" in "".join(status_of(damaged, lake).damage)
    (plan,) = plan_healing(collector, [SERIES], TODAY)
    assert not collector.collect(plan).failed
    assert values(blobs_of(damaged)[path]).equals(values(collected[path]))
    assert any(name.startswith(DAMAGED) for name in blobs_of(damaged))


def test_each_blob_is_verified_once_in_thirty_nights() -> None:
    blobs = [StoredBlob(RAW.format(date(2024, 1, 1) + timedelta(n)), "", 1) for n in range(600)]
    nights = [share_of_night(blobs, date(2024, 5, 1) + timedelta(n)) for n in range(30)]
    assert sorted(blob.path for night in nights for blob in night) == [b.path for b in blobs]
    assert max(map(len, nights)) < 60


@pytest.mark.soak
def test_lost_tail_of_restored_lake_is_asked_for(
    damaged: ContainerClient, collector: Collector
) -> None:
    """The lake was restored from a backup; Dagster has recorded days that came later."""
    assert not collector.collect(collector.plan(SERIES, DAYS)).failed
    for path in blobs_of(damaged):
        if DAYS[2] in path or DAYS[3] in path:
            damaged.delete_blob(path)
    assert collector.plan(SERIES, DAYS[:1]).days == [DAYS[0], *DAYS[2:]]


@pytest.mark.soak
def test_lost_revisions_are_recorded(
    damaged: ContainerClient,
    lake: ParquetStore,
    instance: dg.DagsterInstance,
) -> None:
    later = SyntheticMarket("ETH-EUR", untraded=0.0, price=999.0)
    with StandInExchange(rate=None, markets={"ETH-EUR": later}) as exchange:
        collector = collector_of(exchange.url, instance, lake)
        for again in (False, True):
            assert not collector.collect(collector.plan(SERIES, [DAYS[1]], again)).failed
        (path,) = (name for name in blobs_of(damaged) if name.startswith(REVISIONS))
        assert status_of(damaged, lake).damage == []
        damaged.delete_blob(path)
        (line,) = status_of(damaged, lake).damage
        assert "revisions are missing" in line
        assert not collector.collect(collector.plan(SERIES, DAYS[-1:])).failed
    assert status_of(damaged, lake).damage == []
    assert blobs_of(damaged)[DAY].metadata["revisions_lost"] == "1"


def test_lost_listing_of_lake_without_days_plans_nothing(
    damaged: ContainerClient, lake: ParquetStore, collector: Collector
) -> None:
    for path in blobs_of(damaged):
        if path.startswith(("raw_candles/", "candle_history/", "listings/")):
            damaged.delete_blob(path)
    ledger = lake.get(LEDGER.format("2024-01"))
    stored = lake.find([LEDGER.format("2024-01")])[LEDGER.format("2024-01")]
    lake.put(stored.path, with_fields(ledger, {"buckets_before_listing": "1"}), stored)
    assert "first or last day" in status_of(damaged, lake).damage[-1]
    assert collector.plan(SERIES, []).days == []


@pytest.mark.soak
def test_lost_listing_is_asked_for_again(
    lake: ParquetStore, container: ContainerClient, instance: dg.DagsterInstance
) -> None:
    listed = SyntheticMarket(
        "ETH-EUR", untraded=0.0, listing=int(datetime(2024, 1, 31, 5, tzinfo=UTC).timestamp())
    )
    with StandInExchange(rate=None, markets={"ETH-EUR": listed}) as exchange:
        collector = collector_of(exchange.url, instance, lake)
        assert not collector.collect(collector.plan(SERIES, DAYS)).failed
        assert status_of(container, lake).damage == []
        container.delete_blob(LISTING)
        (line,) = status_of(container, lake).damage
        assert "first or last day" in line
        assert not collector.collect(collector.plan(SERIES, DAYS[-1:])).failed
    assert status_of(container, lake).damage == []
    assert LISTING in blobs_of(container)


@pytest.mark.soak
def test_chart_that_was_drawn_and_is_gone_or_old_is_drawn_again(
    damaged: ContainerClient, collector: Collector, instance: dg.DagsterInstance
) -> None:
    def draws(*days: str) -> bool:
        """Heal or collect; return whether a picture was stored."""
        before = chart_of(damaged)
        for plan in [collector.plan(SERIES, days)] if days else plan_healing(*nothing_else):
            assert not collector.collect(plan).failed
        return chart_of(damaged) not in (before, "")

    nothing_else = (collector, [SERIES], TODAY)
    assert not draws(*DAYS)
    assert not draws()
    run_chart(collector, instance)
    assert chart_of(damaged)
    assert not draws(*DAYS)
    damaged.delete_blob(CHART)
    assert draws()
    damaged.delete_blob(CHART)
    assert draws(*DAYS)
    assert not draws(*DAYS)
    assert draws("2024-02-03")
    assert not draws()


def chart_of(container: ContainerClient) -> str:
    """Return the ETag of the stored picture; "" without one."""
    blob = container.get_blob_client(CHART)
    return str(blob.get_blob_properties().etag) if blob.exists() else ""


def run_chart(collector: Collector, instance: dg.DagsterInstance) -> None:
    """Draw as the hourly schedule does."""
    key = dg.AssetKey(CANDLE_CHART.asset_key(SERIES))
    collector._runs.job.execute_in_process(instance=instance, asset_selection=[key])


def test_archived_blob_is_named_with_the_remedy(
    damaged: ContainerClient, lake: ParquetStore
) -> None:
    damaged.set_standard_blob_tier_blobs(StandardBlobTier.ARCHIVE, MONTH)
    (line,) = status_of(damaged, lake).damage
    assert MONTH in line
    assert "az storage blob set-tier --tier Hot" in line


def test_footer_of_busy_month_is_small(damaged: ContainerClient, lake: ParquetStore) -> None:
    series = Series.parse("BTC-USD:1m")
    fields = read(blobs_of(damaged)[DAY].content).schema.metadata
    keys = [f"2024-01-{day:02}" for day in range(1, 32)]
    empty = lake.get(DAY)[:0].replace_schema_metadata(fields)
    month = join_days(series, "2024-01", dict.fromkeys(keys, empty), 31, "raw_candles")
    path = "candle_history/product=BTC-USD/granularity=1m/month=2024-01/candles.parquet"
    lake.put(path, month, None)
    footer = pq.ParquetFile(BytesIO(blobs_of(damaged)[path].content)).metadata
    assert footer.serialized_size <= 8_000
    names = {name for name in footer.metadata if b"ARROW" not in name}
    assert all(name.startswith(b"coinbase_assets") for name in names)


def test_digest_covers_names_types_and_values() -> None:
    tables = [
        pa.table({"a": [1.0, 2.0]}),
        pa.table({"a": [1.0, 2.5]}),
        pa.table({"b": [1.0, 2.0]}),
        pa.table({"a": [1, 2]}),
        pa.table({"a": [1.0, None]}),
        pa.table({"a": ["1.0", "2.0"]}),
        pa.table({"a": pa.array([1, 2], pa.timestamp("us", "UTC"))}),
    ]
    assert len({table_digest(table) for table in tables}) == len(tables)
    assert table_digest(tables[0]) == table_digest(pa.concat_tables([tables[0][:1], tables[0][1:]]))


def test_ledger_of_another_month_is_damaged(
    damaged: ContainerClient, lake: ParquetStore, collected: Lake
) -> None:
    upload(damaged, LEDGER.format("2024-01"), collected[LEDGER.format("2024-02")])
    (line, *_) = status_of(damaged, lake).damage
    assert "belongs at candle_coverage/product=ETH-EUR/granularity=1h/month=2024-02" in line
