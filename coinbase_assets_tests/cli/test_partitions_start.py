"""Where partitions begin without COINBASE_START, and that no earlier partition is lost."""

from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from coinbase_assets.candles.datasets import CANDLE_HISTORY, RAW_CANDLES
from coinbase_assets.candles.series import Series
from coinbase_assets.cli.partitions_start import with_first_day
from coinbase_assets.definitions import build_definitions
from coinbase_assets.settings import load_settings
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.lake.test_status import store_days
from coinbase_assets_tests.running import land

ETH, HOURS = Series.parse("ETH-EUR:15m"), Series.parse("ETH-EUR:1h")
TODAY = date(2024, 3, 15)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.setenv("COINBASE_SERIES", f"{ETH},{HOURS}")
    return home


def begin(instance: dg.DagsterInstance, lake: ParquetStore, first: date = TODAY) -> date:
    """Return where partitions begin after a command that collects from `first` on."""
    return with_first_day(load_settings(), first, instance, lake).start


def first_partition(dataset_key: list[str]) -> str | None:
    definitions = build_definitions(load_settings())
    partitions = definitions.resolve_assets_def(dg.AssetKey(dataset_key)).partitions_def
    assert partitions
    return partitions.get_first_partition_key()


def test_partitions_begin_where_collecting_began(
    instance: dg.DagsterInstance, lake: ParquetStore
) -> None:
    assert begin(instance, lake) == TODAY
    assert first_partition(RAW_CANDLES.asset_key(ETH)) == "2024-03-15"
    assert first_partition(CANDLE_HISTORY.asset_key(ETH)) == "2024-03"
    assert begin(instance, lake, date(2024, 3, 20)) == TODAY
    assert begin(instance, lake, date(2024, 1, 30)) == date(2024, 1, 30)
    assert first_partition(RAW_CANDLES.asset_key(ETH)) == "2024-01-30"
    assert first_partition(CANDLE_HISTORY.asset_key(ETH)) == "2024-01"


def test_partitions_of_earlier_instance_stay(
    instance: dg.DagsterInstance, lake: ParquetStore
) -> None:
    land(instance, ETH, "2024-02-01", "2024-03-01")
    land(instance, HOURS, "2023-11-05")
    assert begin(instance, lake) == date(2023, 11, 5)


def test_partitions_of_earlier_lake_stay(instance: dg.DagsterInstance, lake: ParquetStore) -> None:
    store_days(lake, "01-02", "01-03")
    land(instance, ETH, "2024-02-01")
    assert begin(instance, lake) == date(2024, 1, 2)


@pytest.mark.usefixtures("lake")
def test_partitions_before_first_command_begin_as_earlier_versions_did() -> None:
    assert first_partition(RAW_CANDLES.asset_key(ETH)) == "2018-01-01"


def test_partitions_start_set_by_setting_holds(
    instance: dg.DagsterInstance, lake: ParquetStore, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(instance, lake)
    monkeypatch.setenv("COINBASE_START", "2024-02-20")
    assert begin(instance, lake, date(2024, 3, 1)) == date(2024, 2, 20)
    land(instance, ETH, "2024-02-25")
    monkeypatch.delenv("COINBASE_START")
    assert begin(instance, lake) == date(2024, 2, 25), "what was collected while it was set"
    assert (home / "first_day").read_text() == "2024-02-25\n"
