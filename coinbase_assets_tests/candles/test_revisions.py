"""Revisions: compared as tables, and recorded in Azurite by Dagster runs.

The times of the tables are hours of 2024-01-01, as in test_days.py.
"""

import logging
from collections.abc import Mapping
from datetime import timedelta

import dagster as dg
import pyarrow as pa
import pytest
from azure.storage.blob import ContainerClient

from coinbase_assets.candles.days import Day
from coinbase_assets.candles.revisions import (
    REVISION_SCHEMA,
    compare_days,
    count_changes,
    revisions_path,
)
from coinbase_assets.candles.series import Granularity
from coinbase_assets.candles.table import SCHEMA, InvalidCandles
from coinbase_assets.collection.day_updates import DaysToCollect, DayUpdates
from coinbase_assets.collection.reconciler import Reconciled
from coinbase_assets.completeness.examination import Answered, Witnesses
from coinbase_assets.completeness.weighing import missing_candles
from coinbase_assets.settings import Settings
from coinbase_assets.storage.errors import StorageError
from coinbase_assets.storage.io_manager import Update
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets.table_metadata import table_fields
from coinbase_assets_tests.candles.test_days import SERIES, START, at, candles, day
from coinbase_assets_tests.running import collect_raw, partition_metadata, refresh_raw, settings_for
from coinbase_assets_tests.stand_in.exchange import StandInExchange
from coinbase_assets_tests.stand_in.markets import consistent_market
from coinbase_assets_tests.stand_in.tables import candle_table

DAY_1 = int(START.timestamp())
HOUR = 3_600
ROWS = [[DAY_1 + hour * HOUR, 1.0, 2.0, 1.5, 1.75, 10.0] for hour in range(24)]
FOLDER = "candle_revisions/product=ETH-EUR/granularity=1h/date=2024-01-01/"
RAW = "raw_candles/product=ETH-EUR/granularity=1h/date=2024-01-01/candles.parquet"


def revisions(stored: Day, asked: Day) -> pa.Table:
    merged = asked.merged_with(stored, disproved=missing_candles(stored, asked))
    return compare_days(stored, asked, merged)


def update(asked: Day, lake: ParquetStore, witnesses: Witnesses | None = None) -> Update:
    days = DaysToCollect(SERIES, ["2024-01-01"], {}, {}, {}, live=False)
    return DayUpdates(days, lake, "", logging.getLogger()).update(Reconciled(asked, witnesses))


def changes(stored: Day, asked: Day) -> dict[int, str]:
    """Return the change of each candle, by its hour; candles no longer answered are dropped."""
    table = revisions(stored, asked)
    assert table.schema.equals(REVISION_SCHEMA)
    hours = [int((time - START) / timedelta(hours=1)) for time in table["time"].to_pylist()]
    return dict(zip(hours, table["change"].to_pylist(), strict=True))


# Comparing


def test_revisions_changed_added_vanished() -> None:
    stored, asked = day([0, 1, 2, 4], at(30)), day([1, 2, 3, 4], at(40), price=2)
    table = revisions(stored, asked)
    assert changes(stored, asked) == {
        0: "vanished",
        1: "changed",
        2: "changed",
        3: "added",
        4: "changed",
    }
    assert table["old_close"].to_pylist() == [1, 1, 1, None, 1]
    assert table["new_volume"].to_pylist() == [None, 2, 2, 2, 2]
    assert count_changes(table) == {
        "candles_changed": "3",
        "candles_added": "1",
        "candles_vanished": "1",
    }


def test_revisions_columns_of_each_value() -> None:
    old = {"open": 1.5, "high": 2.0, "low": 1.0, "close": 1.75, "volume": 10.0}
    new = {"open": 2.5, "high": 3.0, "low": 2.0, "close": 2.75, "volume": 20.0}
    tables = [candle_table([at(0)], **values) for values in (old, new)]
    stored, asked = (
        Day(SERIES, START, table, at(when), at(when), START, at(24), 1)
        for table, when in zip(tables, (30, 40), strict=True)
    )
    (row,) = revisions(stored, asked).to_pylist()
    assert row.items() >= {f"old_{name}": value for name, value in old.items()}.items()
    assert row.items() >= {f"new_{name}": value for name, value in new.items()}.items()
    assert (row["time"], row["change"]) == (at(0), "changed")
    assert (row["old_fetched_at"], row["new_fetched_at"]) == (at(30), at(40))


@pytest.mark.parametrize("column", ["open", "high", "low", "close", "volume"])
def test_revisions_one_changed_value_is_enough(column: str) -> None:
    stored = day([0, 1], at(30))
    index = SCHEMA.get_field_index(column)
    changed = stored.candles.set_column(index, SCHEMA.field(column), [[1.0, 1.5]])
    asked = Day(SERIES, START, changed, at(40), at(40), START, at(24), 1)
    assert changes(stored, asked) == {1: "changed"}


@pytest.mark.parametrize("hours", [[], [5], [*range(24)]])
def test_revisions_empty_for_equal_candles(hours: list[int]) -> None:
    stored, asked = day(hours, at(30)), day(hours, at(40))
    assert changes(stored, asked) == {}
    assert set(count_changes(revisions(stored, asked)).values()) == {"0"}


def test_revisions_ignore_order() -> None:
    rising = [candle_table([at(hour)], hour + 1.0) for hour in range(3)]
    tables = [pa.concat_tables(rising[n] for n in order) for order in ((0, 1, 2), (2, 0, 1))]
    stored, asked = (
        Day(SERIES, START, table, at(40), at(40), START, at(24), 1) for table in tables
    )
    assert changes(stored, asked) == {}


def test_revisions_ignore_appended_candles() -> None:
    stored = day([*range(8)], at(8.1), at(8))
    assert changes(stored, day([8, 9], at(10.1), at(10), price=2, since=at(8))) == {}
    assert changes(stored, day([*range(10)], at(10.1), at(10))) == {}


def test_revisions_only_where_both_answers_cover() -> None:
    stored = day([0, 1, 2, 3, 4], at(6.1), through=at(6))
    asked = day([3, 5, 7], at(9.1), through=at(9), price=2, since=at(3))
    assert changes(stored, asked) == {3: "changed", 4: "vanished", 5: "added"}


def test_revisions_stop_where_asked_day_ends() -> None:
    assert changes(day([*range(24)], at(30)), day([0], at(40), through=at(2))) == {1: "vanished"}


def test_revisions_of_older_answer_are_additions_only() -> None:
    stored, asked = day([0, 1, 2], at(30.9)), day([1, 2, 3], at(30), price=2)
    table = revisions(stored, asked)
    assert changes(stored, asked) == {3: "added"}
    assert asked.merged_with(stored).candles["close"].to_pylist() == [1, 1, 1, 2]
    assert table_fields(table)["new_fetched_at"] < table_fields(table)["old_fetched_at"]


def test_revisions_of_equally_old_answers() -> None:
    assert changes(day([0, 1], at(30)), day([0], at(30), price=2)) == {0: "changed", 1: "vanished"}


def test_revisions_fields_and_path() -> None:
    stored, asked = day([0], at(30)), day([0], at(48.25), price=2)
    assert table_fields(revisions(stored, asked)) == {
        "series": "ETH-EUR:1h",
        "version": str(int(at(48.25).timestamp())),
        "old_fetched_at": "2024-01-02T06:00:00Z",
        "new_fetched_at": "2024-01-03T00:15:00Z",
    }
    assert revisions_path(asked) == f"{FOLDER}2024-01-03T00-15-00Z.parquet"


# Recording


def collect(
    instance: dg.DagsterInstance, rows: list[list[float]], hour: float, live: bool = False
) -> Mapping[str, object]:
    """Collect the day at this hour from an exchange with these rows; return its metadata."""
    market = consistent_market(HOUR, rows)
    with StandInExchange(
        rate=None, clock=lambda: DAY_1 + hour * HOUR, markets={"ETH-EUR": market}
    ) as exchange:
        run = refresh_raw if live else collect_raw
        return partition_metadata(run(hourly(exchange), instance, "2024-01-01"))["2024-01-01"]


def hourly(exchange: StandInExchange) -> Settings:
    return settings_for(exchange.url, "ETH-EUR:1h")


def counts(metadata: Mapping[str, object]) -> list[object]:
    return [metadata[f"candles_{change}"] for change in ("changed", "added", "vanished")]


def with_revision(hour: int = 3, volume: float = 10.5) -> list[list[float]]:
    return [*ROWS[:hour], [*ROWS[hour][:5], volume], *ROWS[hour + 1 :]]


def volumes(lake: ParquetStore) -> list[float]:
    return lake.get(RAW)["volume"].to_pylist()


def test_revisions_record_revised_volume(lake: ParquetStore, instance: dg.DagsterInstance) -> None:
    assert counts(collect(instance, ROWS, 24.5)) == [0, 0, 0]
    assert lake.list("candle_revisions/") == {}
    assert counts(collect(instance, with_revision(), 72.5)) == [1, 0, 0]
    path = f"{FOLDER}2024-01-04T00-30-00Z.parquet"
    assert list(lake.list("candle_revisions/")) == [path]
    (row,) = lake.get(path).to_pylist()
    assert (row["time"], row["change"]) == (at(3), "changed")
    assert (row["old_volume"], row["new_volume"]) == (10.0, 10.5)
    assert (row["old_close"], row["new_close"]) == (1.75, 1.75)
    assert (row["old_fetched_at"], row["new_fetched_at"]) == (at(24.5), at(72.5))
    assert lake.list(path)[path].fields["new_fetched_at"] == "2024-01-04T00:30:00Z"
    assert volumes(lake) == [10.0] * 3 + [10.5] + [10.0] * 20


def test_revisions_none_for_unchanged_day(lake: ParquetStore, instance: dg.DagsterInstance) -> None:
    collect(instance, ROWS, 24.5)
    assert counts(collect(instance, ROWS, 72.5)) == [0, 0, 0]
    assert lake.list("candle_revisions/") == {}


def test_revisions_record_added_candles(lake: ParquetStore, instance: dg.DagsterInstance) -> None:
    collect(instance, ROWS[1:], 24.5)
    metadata = collect(instance, ROWS, 72.5)
    assert (counts(metadata), metadata["candles_unanswered"]) == ([0, 1, 0], 0)
    (path,) = lake.list("candle_revisions/")
    assert lake.get(path)["change"].to_pylist() == ["added"]
    assert volumes(lake) == [10.0] * 24


def test_revisions_none_for_appending_refresh(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    for hour in (5.5, 9.25, 24.1):
        assert counts(collect(instance, ROWS, hour, live=True)) == [0, 0, 0]
    assert lake.list("candle_revisions/") == {}
    assert volumes(lake) == [10.0] * 24


def test_revisions_record_values_stored_by_refreshes(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    collect(instance, ROWS, 5.5, live=True)
    collect(instance, ROWS, 9.25, live=True)
    assert counts(collect(instance, with_revision(), 12.5)) == [1, 0, 0]
    (path,) = lake.list("candle_revisions/")
    assert lake.get(path)["old_fetched_at"].to_pylist() == [at(9.25)]


def test_revisions_recorded_before_raw_blob_is_put(
    lake: ParquetStore, container: ContainerClient, instance: dg.DagsterInstance
) -> None:
    collect(instance, ROWS, 24.5)
    lease = container.get_blob_client(RAW).acquire_lease()
    with pytest.raises(StorageError, match="412"):
        collect(instance, with_revision(), 72.5)
    (first,) = lake.list("candle_revisions/")
    assert lake.get(first)["new_volume"].to_pylist() == [10.5]
    assert volumes(lake) == [10.0] * 24
    lease.release()
    assert counts(collect(instance, with_revision(), 73)) == [1, 0, 0]
    assert set(lake.list("candle_revisions/")) == {first, f"{FOLDER}2024-01-04T01-00-00Z.parquet"}


def test_revisions_none_for_day_that_breaks_a_rule(lake: ParquetStore) -> None:
    off_the_grid = candles([0, 1]).set_column(0, SCHEMA.field(0), [[at(0.5), at(1)]])
    stored = Day(SERIES, START, off_the_grid, at(30), at(30), START, at(24), 1)
    blob = lake.put(RAW, stored.to_table(""), None)
    with pytest.raises(InvalidCandles, match="grid"):
        update(day([1], at(40), price=2), lake)(blob)
    assert lake.list("candle_revisions/") == {}


def test_revisions_recorded_against_winner_of_race(lake: ParquetStore) -> None:
    first = lake.put(RAW, day([0, 1], at(30)).to_table(""), None)
    asked = day([0, 1], at(50), price=3)
    replacement = update(asked, lake)
    replacement(first)
    (lost,) = (lake.get(path) for path in lake.list("candle_revisions/"))
    assert lost["old_close"].to_pylist() == [1, 1]
    winner = day([0, 1], at(40), price=2)
    second = lake.put(RAW, winner.to_table(""), first)
    table = replacement(second)
    (path,) = lake.list("candle_revisions/")
    assert path == revisions_path(asked)
    assert lake.get(path)["old_close"].to_pylist() == [2, 2]
    assert lake.get(path)["old_fetched_at"].to_pylist() == [at(40)] * 2
    assert table is not None
    assert table_fields(table)["candles_changed"] == "2"


def test_revisions_record_stays_after_lost_race(lake: ParquetStore) -> None:
    first = lake.put(RAW, day([0, 1], at(30)).to_table(""), None)
    replacement = update(day([0, 1], at(50), price=2), lake)
    replacement(first)
    second = lake.put(RAW, day([0, 1], at(40), price=2).to_table(""), first)
    table = replacement(second)
    assert table is not None
    assert table_fields(table)["candles_changed"] == "0"
    (path,) = lake.list("candle_revisions/")
    assert lake.get(path)["old_close"].to_pylist() == [1, 1]


def test_revisions_unacknowledged_put_is_no_second_answer(lake: ParquetStore) -> None:
    asked, again = day([*range(24)], at(60)), day([*range(24)], at(61))
    larger = Answered(day([0], at(60), price=99).candles, at(60))
    levels = {Granularity.ONE_DAY: larger, Granularity.SIX_HOURS: larger}
    disagreeing = Witnesses(Granularity.ONE_DAY, levels)
    first = update(asked, lake, disagreeing)(None)
    assert first
    stored = lake.put(RAW, first, None)
    settled = []
    for answered in (asked, again):
        table = update(answered, lake, disagreeing)(stored)
        assert table
        settled.append(table_fields(table)["settled"])
    assert settled == ["false", "true"]
