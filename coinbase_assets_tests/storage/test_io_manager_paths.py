"""The paths of blobs: odd partition keys, dimensions, prefixes, limits."""

from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from coinbase_assets.candles.datasets import CANDLE_HISTORY, RAW_CANDLES
from coinbase_assets.candles.series import Series
from coinbase_assets.storage.errors import StorageError
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets.storage.paths import PATH_METADATA, blob_path, quoted
from coinbase_assets_tests.storage.prices import (
    DAYS,
    FIRST,
    Reader,
    Runner,
    assert_is,
    numbers,
    prices,
    rows,
)
from coinbase_assets_tests.storage.round_trips import round_trip

PRICES = dg.AssetKey("prices")
ODD = ["a/b", "a\\b", "a?b", "a#b", "a%2Fb", "a b", " a", ".", "..", "a", "a.", "a..", "a/", "/a"]
ODD += ["größe", "日本", "a=b", "a:b", "a&b", "a+b", "{a}", "A", '"', "'", "~", "a|b", "x" * 800]
HIVE = ds.HivePartitioning(pa.schema([("partition", pa.string())]), segment_encoding="uri")


def test_paths_of_candles_are_as_they_were() -> None:
    found = [
        blob_path(dg.AssetKey("any"), {PATH_METADATA: dataset.path(series)}, key)
        for dataset, key in ((RAW_CANDLES, "2024-01-31"), (CANDLE_HISTORY, "2024-01"))
        for series in (Series.parse("ETH-EUR:15m"),)
    ]
    assert found == [
        "raw_candles/product=ETH-EUR/granularity=15m/date=2024-01-31/candles.parquet",
        "candle_history/product=ETH-EUR/granularity=15m/month=2024-01/candles.parquet",
    ]


@pytest.mark.both_addresses
def test_odd_partition_keys_are_distinct(run: Runner, lake: ParquetStore) -> None:
    tables = {key: rows(number) for number, key in enumerate(ODD)}
    found = round_trip(run, tables, pa.Table)
    assert {key: numbers(table) for key, table in found.items()} == {
        key: [number] for number, key in enumerate(ODD)
    }
    assert len(lake.list("prices/")) == len(ODD)


@pytest.mark.parametrize("key", ODD)
def test_hive_partitioning_gives_key_back(key: str) -> None:
    path = blob_path(PRICES, {}, key)
    (found,) = ds.get_partition_keys(HIVE.parse(path)).values()
    assert found == key


def test_polars_and_duckdb_give_keys_back(tmp_path: Path) -> None:
    for number, key in enumerate(ODD[:-1]):
        file = tmp_path / blob_path(PRICES, {}, key)
        file.parent.mkdir(parents=True)
        pq.write_table(rows(number), file)
    files = f"{tmp_path}/**/*.parquet"
    found = pl.scan_parquet(files, hive_partitioning=True, try_parse_hive_dates=False).collect()
    options = "hive_partitioning=true, hive_types_autocast=false"
    query = f"SELECT number, partition FROM read_parquet(?, {options})"
    for pairs in (
        found.select("number", "partition").rows(),
        duckdb.execute(query, [files]).fetchall(),
    ):
        assert dict(pairs) == dict(enumerate(ODD[:-1]))


def test_empty_partition_key_is_refused(run: Runner) -> None:
    partitions = dg.StaticPartitionsDefinition(["a", "", "b"])
    asset = prices(lambda c: dict.fromkeys(c.partition_keys, rows(1)), partitions)
    with pytest.raises(StorageError, match="prices: a partition key is empty; give it a name"):
        run(asset, keys=("a", "b"))


@pytest.mark.parametrize("key", ["2024-01-31", "2024-01", "ETH-EUR", "1INCH-USD", "15m", "a_b~c.d"])
def test_plain_partition_keys_stay_as_they_are(key: str) -> None:
    assert quoted(key) == key


def test_template_has_encoded_keys(run: Runner, lake: ParquetStore) -> None:
    sites = dg.StaticPartitionsDefinition(["a/b", "a\\b", ".."])
    asset = prices(lambda context: rows(1), sites, blob_path="all/{partition}")
    for key in sites.get_partition_keys():
        run(asset, keys=key)
    assert list(lake.list("")) == ["all/%2E%2E", "all/a%2Fb", "all/a%5Cb"]


@pytest.mark.parametrize("template", [None, "{site.name}/{day}.parquet"])
def test_dimension_name_may_have_dot(template: str | None, run: Runner, lake: ParquetStore) -> None:
    sites = dg.StaticPartitionsDefinition(["north"])
    grid = dg.MultiPartitionsDefinition({"site.name": sites, "day": DAYS})
    options = {"blob_path": template} if template else {}
    reader = Reader(pa.Table, grid)
    run(prices(lambda c: rows(1), grid, **options), reader.asset, keys=f"{FIRST}|north")
    assert_is(reader.value, rows(1))
    default = f"prices/day={FIRST}/site.name=north/data.parquet"
    assert list(lake.list("")) == [f"north/{FIRST}.parquet" if template else default]


def test_too_long_path_is_refused(run: Runner) -> None:
    key = "ä" * 200
    with pytest.raises(StorageError, match=r"has 1,\d+ characters.*1,024; use shorter"):
        run(prices(lambda c: rows(1), dg.StaticPartitionsDefinition([key])), keys=key)


def test_asset_key_parts_are_distinct() -> None:
    keys = [dg.AssetKey(["a/b"]), dg.AssetKey(["a", "b"]), dg.AssetKey(["a\\b"])]
    assert len({blob_path(key, {}, "") for key in keys}) == 3
    assert blob_path(dg.AssetKey(["site=a", "b"]), {}, "") == "site=a/b/data.parquet"


def altered(run: Runner, **options: Any) -> Runner:
    """Return runs with these options of the IO manager."""
    manager = run.io_manager
    return Runner(type(manager)(**{**dict(manager), **options}), run.instance)


def test_prefix_is_before_every_path(run: Runner, lake: ParquetStore) -> None:
    reader = Reader(pa.Table)
    altered(run, prefix="/team/a/")(prices(lambda c: rows(1), None), reader.asset)
    assert_is(reader.value, rows(1))
    assert list(lake.list("")) == ["team/a/prices/data.parquet"]


@pytest.mark.parametrize("compression", ["zstd", "snappy", "gzip", "brotli", "lz4", "none"])
def test_compression_and_row_groups(compression: str, run: Runner, lake: ParquetStore) -> None:
    options = {"compression": compression, "row_group_size": 10}
    reader = Reader(pa.Table)
    altered(run, **options)(prices(lambda c: rows(*range(25)), None), reader.asset)
    assert numbers(reader.value) == [*range(25)]
    content = lake._source.get("prices/data.parquet").content
    found = pq.ParquetFile(pa.BufferReader(content)).metadata
    assert found.num_row_groups == 3
    stored = found.row_group(0).column(0).compression
    assert stored.lower() == {"none": "uncompressed"}.get(compression, compression)


@pytest.mark.parametrize("option", [{"compression": "lzo"}, {"row_group_size": 0}])
def test_unusable_option_is_named(option: dict[str, Any], run: Runner) -> None:
    (name,) = option
    with pytest.raises((StorageError, dg.DagsterError)) as raised:
        altered(run, **option)(prices(lambda c: rows(1), None))
    assert name in f"{raised.value} {raised.value.__cause__}"
