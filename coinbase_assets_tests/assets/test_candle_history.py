"""Raw days joined to months, run by Dagster on Azurite."""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg
import pyarrow as pa
import pytest
from azure.storage.blob import BlobServiceClient, ContainerClient
from dagster._core.errors import DagsterAssetCheckFailedError

from coinbase_assets.candles.datasets import CANDLE_HISTORY
from coinbase_assets.candles.table import SCHEMA, InvalidCandles, merge_candles
from coinbase_assets.settings import Settings
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets.table_metadata import table_fields, with_fields
from coinbase_assets_tests.running import (
    build_history,
    collect_raw,
    materialize,
    partition_metadata,
    settings_for,
)
from coinbase_assets_tests.stand_in.exchange import StandInExchange
from coinbase_assets_tests.stand_in.tables import candle_table

RAW = "raw_candles/product=ETH-EUR/granularity=15m/"
HISTORY = "candle_history/product=ETH-EUR/granularity=15m/"


def raw_days(store: ParquetStore, month: str) -> list[pa.Table]:
    return [store.get(path) for path in sorted(store.list(f"{RAW}date={month}"))]


def history(store: ParquetStore, month: str) -> pa.Table:
    return store.get(f"{HISTORY}month={month}/candles.parquet")


def candles(rows: dict[str, float], version: int) -> pa.Table:
    """Flat candles with these volumes at these times, as a raw day keeps them."""
    times = [datetime.fromisoformat(time).replace(tzinfo=UTC) for time in rows]
    return with_fields(candle_table(times, volume=[*rows.values()]), {"version": str(version)})


def store_day(store: ParquetStore, day: str, table: pa.Table) -> None:
    store.put(f"{RAW}date={day}/candles.parquet", table, None)


def test_history_equals_raw_days_over_months(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    with StandInExchange(rate=None) as exchange:
        settings = settings_for(exchange.url, "ETH-EUR:15m")
        collect_raw(settings, instance, "2024-01-20", "2024-03-10")
        result = build_history(settings, instance, "2023-12", "2024-03")
    for month in ("2024-01", "2024-02", "2024-03"):
        days = raw_days(lake, month)
        assert history(lake, month).equals(merge_candles(*days))
        versions = [int(table_fields(day)["version"]) for day in days]
        assert table_fields(history(lake, month))["version"] == str(sum(versions))
    metadata = partition_metadata(result)
    assert {
        month: (fields["days"], fields["days_missing"]) for month, fields in metadata.items()
    } == {"2023-12": (0, 31), "2024-01": (12, 19), "2024-02": (29, 0), "2024-03": (10, 21)}
    assert metadata["2024-02"]["dagster/row_count"] == history(lake, "2024-02").num_rows
    assert history(lake, "2023-12").schema.equals(SCHEMA)


def test_history_counts_begun_days_of_open_month(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    settings = settings_for("http://127.0.0.1:1", "ETH-EUR:15m")
    today = dg.DailyPartitionsDefinition("2024-01-01", end_offset=1).get_last_partition_key()
    assert today is not None
    result = build_history(settings, instance, today[:7])
    assert partition_metadata(result)[today[:7]]["days_missing"] == int(today[8:])


def test_history_rebuild_is_stable_and_adds_new_days(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    settings = settings_for("http://127.0.0.1:1", "ETH-EUR:15m")
    store_day(lake, "2024-01-01", candles({"2024-01-01T00:00:00": 1.0}, version=5))
    build_history(settings, instance, "2024-01")
    before = history(lake, "2024-01")
    build_history(settings, instance, "2024-01")
    assert history(lake, "2024-01").equals(before, check_metadata=True)
    store_day(lake, "2024-01-02", candles({"2024-01-02T00:00:00": 2.0}, version=4))
    build_history(settings, instance, "2024-01")
    assert history(lake, "2024-01")["volume"].to_pylist() == [1.0, 2.0]


@pytest.fixture
def container(lake: ParquetStore, azurite: str) -> Iterator[ContainerClient]:
    """The lake's container, to damage its blobs."""
    with BlobServiceClient.from_connection_string(azurite) as service:
        yield service.get_container_client(lake.container_uri.rpartition("/")[2])


@pytest.fixture
def collected(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> Iterator[tuple[Settings, pa.Table]]:
    """Collect two days and build their month; yield the settings and the month."""
    with StandInExchange(rate=None) as exchange:
        settings = settings_for(exchange.url, "ETH-EUR:15m")
        collect_raw(settings, instance, "2024-01-01", "2024-01-02")
        build_history(settings, instance, "2024-01")
        yield settings, history(lake, "2024-01")


def test_history_does_not_download_unchanged_day_again(
    lake: ParquetStore,
    container: ContainerClient,
    instance: dg.DagsterInstance,
    collected: tuple[Settings, pa.Table],
) -> None:
    settings, before = collected
    unreadable = container.get_blob_client(f"{RAW}date=2024-01-01/candles.parquet")
    unreadable.upload_blob(b"?", overwrite=True, metadata=unreadable.get_blob_properties().metadata)
    collect_raw(settings, instance, "2024-01-03")
    build_history(settings, instance, "2024-01")
    after = history(lake, "2024-01")
    assert after.slice(0, before.num_rows).equals(before)
    assert after.num_rows > before.num_rows


@pytest.mark.parametrize("content", [b"?", None], ids=["unreadable", "gone"])
def test_history_rebuilds_unreadable_month(
    lake: ParquetStore,
    container: ContainerClient,
    instance: dg.DagsterInstance,
    collected: tuple[Settings, pa.Table],
    content: bytes | None,
) -> None:
    settings, before = collected
    blob = container.get_blob_client(f"{HISTORY}month=2024-01/candles.parquet")
    if content:
        blob.upload_blob(content, overwrite=True, metadata=blob.get_blob_properties().metadata)
    else:
        blob.delete_blob()
    build_history(settings, instance, "2024-01")
    assert history(lake, "2024-01").equals(before, check_metadata=True)


def test_history_newer_answer_wins_for_same_time(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    settings, twice = settings_for("http://127.0.0.1:1", "ETH-EUR:15m"), "2024-01-02T00:00:00"
    store_day(lake, "2024-01-01", candles({"2024-01-01T00:00:00": 1.0, twice: 9.0}, version=8))
    store_day(lake, "2024-01-02", candles({twice: 2.0, "2024-01-02T00:15:00": 3.0}, version=7))
    with pytest.raises(DagsterAssetCheckFailedError, match="history_equals_raw"):
        materialize(settings, instance, CANDLE_HISTORY, "2024-01", checks=True)
    assert history(lake, "2024-01")["volume"].to_pylist() == [1.0, 9.0, 3.0]


def test_history_keeps_month_when_raw_day_breaks_rule(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    settings = settings_for("http://127.0.0.1:1", "ETH-EUR:15m")
    store_day(lake, "2024-01-01", candles({"2024-01-01T00:00:00": 1.0}, version=1))
    materialize(settings, instance, CANDLE_HISTORY, "2024-01", checks=True)
    store_day(lake, "2024-01-02", candles({"2024-01-02T00:07:00": 1.0}, version=2))
    with pytest.raises(InvalidCandles, match="time lies on the 15m grid"):
        build_history(settings, instance, "2024-01")
    assert history(lake, "2024-01").num_rows == 1
