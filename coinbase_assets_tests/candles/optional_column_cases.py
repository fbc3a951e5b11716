"""Candles with one more, optional column: `example`, with whole numbers.

test_optional_column.py adds the column to a copy of the package and runs these tests there.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from coinbase_assets.candles import table as table_module
from coinbase_assets.candles.calendar import DAY
from coinbase_assets.candles.days import Day
from coinbase_assets.candles.months import join_days, unchanged_days
from coinbase_assets.candles.parsing import parse_candles
from coinbase_assets.candles.revisions import compare_days
from coinbase_assets.candles.rollups import coarsen_candles
from coinbase_assets.candles.rules import validate_candles
from coinbase_assets.candles.series import Granularity, Series
from coinbase_assets.candles.table import (
    COLUMN_DESCRIPTIONS,
    SCHEMA,
    InvalidCandles,
    candles_digest,
    conform,
    empty_candles,
    merge_candles,
)
from coinbase_assets.lake.export import write_file
from coinbase_assets.table_metadata import table_fields
from coinbase_assets_tests.candles.test_table import DIGEST, DIGESTED
from coinbase_assets_tests.stand_in.tables import candle_table

SERIES = Series.parse("ETH-EUR:1h")
START = datetime(2024, 1, 1, tzinfo=UTC)
HOURS = [START + timedelta(hours=hour) for hour in range(4)]
NEW = candle_table(HOURS, example=[3, 4, 5, 6])
UNKNOWN = candle_table(HOURS)
OLD = UNKNOWN.drop_columns("example")


def day(candles: pa.Table, asked: datetime = START + 3 * DAY, start: datetime = START) -> Day:
    return Day(SERIES, start, candles, asked, asked, start, start + DAY, 1)


def test_package_is_the_copy() -> None:
    assert Path(table_module.__file__).is_relative_to(Path.cwd())


def test_schema_has_the_column() -> None:
    assert SCHEMA.field("example") == pa.field("example", pa.int64(), nullable=True)
    assert COLUMN_DESCRIPTIONS["example"] == "An example"


def test_parse_leaves_the_column_null() -> None:
    row = [int(START.timestamp()), 1.0, 1.0, 1.0, 1.0, 1.0]
    parsed = parse_candles([row, row], Granularity.ONE_HOUR, START, START + DAY)
    assert parsed["example"].to_pylist() == [None]


def test_conform_adds_nulls_to_an_old_table() -> None:
    assert conform(OLD).equals(UNKNOWN)
    assert conform(OLD.select(["time"]), ["time", "example"]).equals(
        UNKNOWN.select(["time", "example"])
    )


def test_validate_accepts_nulls_and_refuses_negative_values() -> None:
    for good in (NEW, UNKNOWN):
        validate_candles(good, Granularity.ONE_HOUR, START, START + DAY)
    bad = candle_table(HOURS, example=[None, 1, -1, None])
    with pytest.raises(InvalidCandles, match=r"02:00:00Z .*: no value is negative"):
        validate_candles(bad, Granularity.ONE_HOUR, START, START + DAY)


def test_digest_without_values_stays() -> None:
    assert candles_digest(DIGESTED) == candles_digest(DIGESTED.drop_columns("example")) == DIGEST
    assert candles_digest(OLD) == candles_digest(UNKNOWN)


def test_digest_covers_values() -> None:
    others = [candle_table(HOURS, example=[3, 4, 5, last]) for last in (7, 0, None)]
    digests = [candles_digest(table) for table in (UNKNOWN, NEW, *others)]
    assert len({*digests}) == 5


def test_coarsen_folds_the_column() -> None:
    assert coarsen_candles(NEW, 7_200)["example"].to_pylist() == [7, 11]
    partly = candle_table(HOURS, example=[3, None, 5, 6])
    assert coarsen_candles(partly, 7_200)["example"].to_pylist() == [None, 11]


def test_merge_keeps_values_and_nulls() -> None:
    merged = merge_candles(empty_candles(), UNKNOWN.slice(0, 2), NEW.slice(2))
    assert merged["example"].to_pylist() == [None, None, 5, 6]


def test_day_stored_without_the_column_is_read() -> None:
    stored = day(UNKNOWN).to_table("")
    old = stored.drop_columns("example")
    assert Day.from_table(SERIES, START, old) == day(UNKNOWN)


def test_month_joins_old_and_new_days() -> None:
    later = [time + DAY for time in HOURS]
    new = day(candle_table(later, example=1), start=START + DAY).to_table("")
    old = day(UNKNOWN).to_table("").drop_columns("example")
    days = {"2024-01-01": old, "2024-01-02": new}
    joined = join_days(SERIES, "2024-01", days, 31, "raw_candles")
    assert joined["example"].to_pylist() == [None] * 4 + [1] * 4
    fields = {key: table_fields(table) for key, table in days.items()}
    assert unchanged_days(joined, fields).keys() == days.keys()
    before = join_days(SERIES, "2024-01", {"2024-01-01": old}, 31, "").drop_columns("example")
    assert unchanged_days(before, fields).keys() == {"2024-01-01"}


@pytest.mark.parametrize(("example", "changed"), [([3, 4, 5, 6], 0), ([3, 4, 5, 7], 1)])
def test_revisions_compare_known_values(example: list[int], changed: int) -> None:
    asked = day(candle_table(HOURS, example=example), START + 4 * DAY)
    assert compare_days(day(NEW), asked, asked).num_rows == changed
    assert compare_days(day(UNKNOWN), asked, asked).num_rows == 0


@pytest.mark.parametrize(
    ("suffix", "lines"),
    [
        (".csv", ["1,1,1,1,1,", "1,1,1,1,1,9007199254740993"]),
        (".jsonl", ['"example": null}', '"example": "9007199254740993"}']),
    ],
)
def test_export_writes_nulls_and_large_values(
    suffix: str, lines: list[str], tmp_path: Path
) -> None:
    file = tmp_path / f"candles{suffix}"
    write_file(file, [candle_table(HOURS[:2], example=[None, 2**53 + 1])])
    written = file.read_text().splitlines()[-2:]
    assert [line.endswith(end) for line, end in zip(written, lines, strict=True)] == [True, True]
