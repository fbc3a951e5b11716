"""The candle table: its columns, and how tables are read, cut, merged and compared."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from coinbase_assets.candles.series import Granularity
from coinbase_assets.candles.table import (
    COLUMN_DESCRIPTIONS,
    SCHEMA,
    InvalidCandles,
    candles_digest,
    clip_candles,
    closed_candles,
    conform,
    empty_candles,
    epoch_microseconds,
    epoch_seconds,
    merge_candles,
)
from coinbase_assets_tests.stand_in.tables import candle_table

START = datetime(2024, 1, 1, tzinfo=UTC)
MINUTE = Granularity.ONE_MINUTE
# As version 0.1 computed it: days and months in users' lakes hold such digests.
DIGEST = "6d229e255843ba247ffc6c131eaa25b5"
DIGESTED = candle_table(
    [START + timedelta(hours=hour) for hour in range(3)],
    open=1.5,
    high=2.0,
    low=1.0,
    close=1.75,
    volume=[0.0, 0.1, 0.2],
)


def minutes(*numbers: int, volume: float = 1.0) -> pa.Table:
    return candle_table([START + number * MINUTE.delta for number in numbers], volume=volume)


def numbers_of(table: pa.Table) -> list[int]:
    return [int((time - START) / MINUTE.delta) for time in table["time"].to_pylist()]


# Columns


def test_table_schema() -> None:
    columns = [(field.name, str(field.type)) for field in SCHEMA if not field.nullable]
    numbers = ["open", "high", "low", "close", "volume"]
    assert columns == [("time", "timestamp[us, tz=UTC]")] + [(name, "double") for name in numbers]


def test_table_columns_have_descriptions() -> None:
    assert list(COLUMN_DESCRIPTIONS) == SCHEMA.names
    assert all(COLUMN_DESCRIPTIONS.values())


# Reading stored tables


def test_conform_drops_schema_metadata() -> None:
    stored = minutes(0, 1).replace_schema_metadata({"coinbase_assets.version": "1"})
    assert conform(stored).equals(minutes(0, 1), check_metadata=True)


def test_conform_restores_the_order_of_columns() -> None:
    assert conform(minutes(0).select(SCHEMA.names[::-1])).equals(minutes(0))


def test_conform_selected_columns() -> None:
    selected = minutes(0).select(["time", "close"])
    assert conform(selected, ["close", "time"]).column_names == ["close", "time"]


@pytest.mark.parametrize(
    "stored",
    [
        minutes(0).drop_columns("close"),
        minutes(0).append_column("price", [[1.0]]),
        minutes(0).set_column(1, "open", [["1.0"]]),
        minutes(0).rename_columns([*SCHEMA.names[:-1], "amount"]),
    ],
)
def test_conform_refuses_other_columns(stored: pa.Table) -> None:
    with pytest.raises(InvalidCandles, match="materialise the partition again"):
        conform(stored)


def test_epoch_of_times() -> None:
    times = pa.chunked_array([[START + timedelta(seconds=1.75)]], SCHEMA.field("time").type)
    assert epoch_microseconds(times).tolist() == [1_704_067_201_750_000]
    assert epoch_seconds(times).tolist() == [1_704_067_201]


# Cutting


def test_clip_keeps_start_and_drops_end() -> None:
    clipped = clip_candles(minutes(*range(5)), START + MINUTE.delta, START + 3 * MINUTE.delta)
    assert numbers_of(clipped) == [1, 2]


def test_clip_returns_the_table_if_all_lies_inside() -> None:
    table, empty = minutes(3, 1, 2), minutes()
    assert clip_candles(table, START + MINUTE.delta, START + 4 * MINUTE.delta) is table
    assert clip_candles(empty, START, START).equals(empty)


def test_clip_reads_times_in_any_order() -> None:
    table = minutes(1, 4, 0, 2)
    assert numbers_of(clip_candles(table, START, START + 3 * MINUTE.delta)) == [1, 0, 2]
    assert numbers_of(clip_candles(table, START + MINUTE.delta, START + timedelta(1))) == [1, 4, 2]


@pytest.mark.parametrize(
    ("early", "closed"),
    [(timedelta(0), [0, 1]), (timedelta(microseconds=1), [0]), (timedelta(seconds=-59), [0, 1])],
)
def test_closed_candles_from_bucket_end_on(early: timedelta, closed: list[int]) -> None:
    as_of = START + timedelta(minutes=2) - early
    assert numbers_of(closed_candles(minutes(*range(5)), MINUTE, as_of)) == closed


# Merging and comparing


def test_merge_last_table_wins() -> None:
    old, new = minutes(1, 2, 4, volume=1), minutes(0, 2, 3, volume=2)
    assert merge_candles(old, new)["volume"].to_pylist() == [2, 1, 2, 2, 1]
    assert merge_candles(new, old)["volume"].to_pylist() == [2, 1, 1, 2, 1]
    assert numbers_of(merge_candles(old, new, old)) == [0, 1, 2, 3, 4]


def test_merge_drops_schema_metadata() -> None:
    table = minutes(0).replace_schema_metadata({"coinbase_assets.version": "1"})
    merged = merge_candles(table, empty_candles(), table)
    assert merged.schema.equals(SCHEMA, check_metadata=True)
    assert merged == minutes(0)


def test_merge_of_empty_tables_is_empty() -> None:
    assert merge_candles(empty_candles(), empty_candles()) == empty_candles()


def test_digest_is_that_of_version_0_1() -> None:
    assert candles_digest(DIGESTED) == DIGEST
    assert candles_digest(empty_candles()) == "cae66941d9efbd404e4d88758ea67670"


@pytest.mark.parametrize("column", ["open", "high", "low", "close", "volume"])
def test_digest_covers_each_column(column: str) -> None:
    index = DIGESTED.column_names.index(column)
    changed = DIGESTED.set_column(index, SCHEMA.field(column), [[1.0, 2.0, 9.0]])
    assert candles_digest(changed) != DIGEST


def test_digest_covers_times_and_order() -> None:
    later = [time + MINUTE.delta for time in DIGESTED["time"].to_pylist()]
    moved = DIGESTED.set_column(0, SCHEMA.field("time"), [later])
    assert DIGEST not in {candles_digest(moved), candles_digest(DIGESTED.take([1, 0, 2]))}
