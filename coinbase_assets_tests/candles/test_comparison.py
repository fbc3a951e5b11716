"""Comparing candles: equal within a tolerance, different, or on one side only."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from coinbase_assets.candles.comparison import bucket_ranges, compare_candles
from coinbase_assets_tests.stand_in.tables import candle_table

START = datetime(2024, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def candles(*minutes: int, **columns: float | Sequence[float]) -> pa.Table:
    return candle_table([START + minute * MINUTE for minute in minutes], **columns)


def microseconds(minute: int) -> int:
    return int((START + minute * MINUTE).timestamp()) * 1_000_000


def test_compare_equal_candles() -> None:
    found = compare_candles(candles(0, 1, 2), candles(0, 1, 2))
    assert (found.equal, found.is_equal) == (3, True)


def test_compare_finds_each_kind() -> None:
    files = candles(0, 1, 2, 4, close=[1.0, 2.0, 1.0, 1.0])
    found = compare_candles(files, candles(0, 1, 3, 4, 5))
    assert (found.equal, found.is_equal) == (2, False)
    assert found.different.tolist() == [microseconds(1)]
    assert (found.files["close"].to_pylist(), found.lake["close"].to_pylist()) == ([2.0], [1.0])
    assert found.only_in_files.tolist() == [microseconds(2)]
    assert found.only_in_lake.tolist() == [microseconds(3), microseconds(5)]


@pytest.mark.parametrize("name", ["open", "high", "low", "close", "volume"])
def test_compare_every_value(name: str) -> None:
    found = compare_candles(candles(0, 1), candles(0, 1, **{name: [1.0, 1.001]}))
    assert found.different.tolist() == [microseconds(1)]
    assert found.differs.T.tolist() == [
        [each == name for each in ("open", "high", "low", "close", "volume")]
    ]


@pytest.mark.parametrize(
    ("value", "stored", "tolerance", "is_equal"),
    [
        (0.1 + 0.2, 0.3, 1e-9, True),
        (0.1 + 0.2, 0.3, 0, False),
        (0.3, 0.3, 0, True),
        (0.0, 0.0, 1e-9, True),
        (0.0, 1e-12, 1e-9, False),
        (20_000.0, 20_001.0, 1e-4, True),
        (20_000.0, 20_001.0, 1e-5, False),
    ],
)
def test_compare_within_relative_tolerance(
    value: float, stored: float, tolerance: float, is_equal: bool
) -> None:
    files, lake = candles(0, volume=value), candles(0, volume=stored)
    assert compare_candles(files, lake, tolerance).is_equal == is_equal


def test_compare_with_empty_lake() -> None:
    found = compare_candles(candles(0, 1), candles())
    assert (found.equal, len(found.only_in_files), len(found.only_in_lake)) == (0, 2, 0)


def test_ranges_join_adjoining_buckets() -> None:
    table = candles(0, 1, 2, 60, 62, 63)
    times = compare_candles(table, candles()).only_in_files
    assert list(map(str, bucket_ranges(times, MINUTE))) == [
        "2024-01-01T00:00..2024-01-01T00:03 (3)",
        "2024-01-01T01:00..2024-01-01T01:01 (1)",
        "2024-01-01T01:02..2024-01-01T01:04 (2)",
    ]
    assert bucket_ranges(times[:0], MINUTE) == []
