"""Rollups: which month a candle belongs to, its values, and which candles are left out."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import cast

import dagster as dg
import pyarrow as pa
import pytest

from coinbase_assets.assets.candle_rollup import build_candle_rollup
from coinbase_assets.candles.calendar import DAY, day_start, month_range
from coinbase_assets.candles.datasets import CANDLE_HISTORY
from coinbase_assets.candles.months import join_days
from coinbase_assets.candles.rollups import roll_up, source_months, touched_months
from coinbase_assets.candles.series import BucketLength, Rollup, RollupGranularity, Series
from coinbase_assets.candles.table import SCHEMA, InvalidCandles
from coinbase_assets.environment.setting_values import parse_rollups
from coinbase_assets.table_metadata import table_fields, with_fields
from coinbase_assets_tests.stand_in.tables import candle_table

HOURS = Series.parse("ETH-EUR:1h")
HOUR = timedelta(hours=1)
WEEK = RollupGranularity.ONE_WEEK


def rollup(granularity: str) -> Rollup:
    (parsed,) = parse_rollups(f"{HOURS}>{granularity}")
    return parsed


def candle(time: datetime) -> dict[str, float]:
    """Return the values of an hour's candle: `open` is the number of hours since 1970."""
    hour = time.timestamp() / 3600
    return {"open": hour, "high": hour + 3, "low": hour - 2, "close": hour + 1, "volume": 1.0}


def candles(times: Sequence[datetime]) -> pa.Table:
    rows = [candle(time) for time in times]
    names = ("open", "high", "low", "close", "volume")
    return candle_table(times, **{name: [row[name] for row in rows] for name in names})


def raw_day(day: str, hours: Sequence[int] = range(24), through: float = 24) -> pa.Table:
    """Return a raw day with candles in these hours, answered for its first `through` hours."""
    start = day_start(day)
    fields = {"version": "1", "answered_through": f"{start + through * HOUR:%FT%TZ}"}
    return with_fields(candles([start + hour * HOUR for hour in hours]), fields)


def history(month: str, changes: Mapping[str, pa.Table | None] | None = None) -> pa.Table:
    """Return a month with all days; `changes` replaces days, or leaves them out (None)."""
    start, end = month_range(month)
    keys = [f"{start + n * DAY:%F}" for n in range((end - start) // DAY)]
    days = {key: raw_day(key) for key in keys} | dict(changes or {})
    collected = {key: day for key, day in days.items() if day is not None}
    return join_days(HOURS, month, collected, len(keys), "raw_candles")


def rolled_up(granularity: str, month: str, *tables: pa.Table) -> tuple[list[str], int]:
    """Return the times of the candles, and how many candles were left out."""
    table = roll_up(rollup(granularity), month, tables)
    times = [f"{time:%F %H}" for time in table["time"].to_pylist()]
    return times, int(table_fields(table)["candles_left_out"])


def test_roll_up_folds_each_column() -> None:
    gap = raw_day("2024-01-02", hours=[1, 2, 5, 23])
    table = roll_up(rollup("4h"), "2024-01", [history("2024-01", {"2024-01-02": gap})])
    assert table.schema.equals(SCHEMA)
    first, second, *_, last = table.slice(6, 3).to_pylist()
    hour = day_start("2024-01-02").timestamp() / 3600
    assert first == {
        "time": day_start("2024-01-02"),
        "open": hour + 1,
        "high": hour + 5,
        "low": hour - 1,
        "close": hour + 3,
        "volume": 2.0,
    }
    assert (second["time"].hour, second["volume"]) == (4, 1.0)
    assert (last["time"].hour, last["volume"]) == (20, 1.0)
    assert table.num_rows == 31 * 6 - 3


@pytest.mark.parametrize(
    ("granularity", "a_day"),
    [("2h", 12), ("4h", 6), ("6h", 4), ("12h", 2), ("1d", 1)],
)
def test_roll_up_buckets_divide_utc_day(granularity: str, a_day: int) -> None:
    times, left_out = rolled_up(granularity, "2024-02", history("2024-02"))
    first, step = day_start("2024-02-01"), timedelta(hours=24 // a_day)
    assert times == [f"{first + n * step:%F %H}" for n in range(29 * a_day)]
    assert left_out == 0


@pytest.mark.parametrize(
    ("month", "tables", "days"),
    [
        # February 2024 begins on a Thursday, January 2024 on a Monday.
        ("2024-01", ["2024-01", "2024-02"], ["01-01", "01-08", "01-15", "01-22", "01-29"]),
        ("2024-02", ["2024-02", "2024-03"], ["02-05", "02-12", "02-19", "02-26"]),
        # The last week ends in the next year.
        ("2024-12", ["2024-12", "2025-01"], ["12-02", "12-09", "12-16", "12-23", "12-30"]),
        # December 2023 ends on a Sunday.
        ("2023-12", ["2023-12"], ["12-04", "12-11", "12-18", "12-25"]),
    ],
)
def test_roll_up_weeks_begin_on_monday(month: str, tables: list[str], days: list[str]) -> None:
    assert source_months(WEEK, month) == tables
    times, left_out = rolled_up("1w", month, *map(history, tables))
    assert (times, left_out) == ([f"{month[:4]}-{day} 00" for day in days], 0)


def test_roll_up_week_of_two_months() -> None:
    table = roll_up(rollup("1w"), "2024-12", [history("2024-12"), history("2025-01")])
    monday, sunday = day_start("2024-12-30"), day_start("2025-01-06") - HOUR
    assert table.slice(4).to_pylist() == [
        {
            "time": monday,
            "open": candle(monday)["open"],
            "high": candle(sunday)["high"],
            "low": candle(monday)["low"],
            "close": candle(sunday)["close"],
            "volume": 168.0,
        }
    ]


@pytest.mark.parametrize(
    ("granularity", "month", "touched"),
    [
        ("1w", "2024-01", ["2024-01"]),
        ("1w", "2024-02", ["2024-01", "2024-02"]),
        ("1w", "2025-01", ["2024-12", "2025-01"]),
        ("1d", "2024-02", ["2024-02"]),
        ("30m", "2025-01", ["2025-01"]),
    ],
)
def test_touched_months_include_month_before_for_weeks(
    granularity: str, month: str, touched: list[str]
) -> None:
    assert touched_months(RollupGranularity(granularity), month) == touched
    sources = {key: source_months(RollupGranularity(granularity), key) for key in touched}
    assert all(month in months for months in sources.values())


@pytest.mark.parametrize(
    ("granularity", "through", "last", "left_out"),
    [
        ("4h", 11, "2024-01-10 04", 1),
        ("4h", 12, "2024-01-10 08", 0),
        ("1d", 23, "2024-01-09 00", 1),
        ("1d", 24, "2024-01-10 00", 0),
        ("1w", 24, "2024-01-01 00", 1),
    ],
)
def test_roll_up_leaves_out_unfinished_candle(
    granularity: str, through: int, last: str, left_out: int
) -> None:
    later = {f"2024-01-{day:02}": None for day in range(11, 32)}
    open_day = raw_day("2024-01-10", range(through), through)
    table = history("2024-01", {**later, "2024-01-10": open_day})
    times, found = rolled_up(granularity, "2024-01", table)
    assert (times[-1], found) == (last, left_out)


def test_roll_up_leaves_out_candle_with_unanswered_end() -> None:
    later = {f"2024-01-{day:02}": None for day in range(2, 32)}
    for through, expected in ((3, []), (4, ["2024-01-01 00"])):
        quiet = raw_day("2024-01-01", hours=[0], through=through)
        times, _ = rolled_up("4h", "2024-01", history("2024-01", {**later, "2024-01-01": quiet}))
        assert times == expected


@pytest.mark.parametrize("missing", ["2024-01-30", "2024-02-03"])
def test_roll_up_leaves_out_candle_with_missing_day(missing: str) -> None:
    tables = [history("2024-01", {missing: None} if missing < "2024-02" else {})]
    tables += [history("2024-02", {missing: None} if missing >= "2024-02" else {})]
    times, left_out = rolled_up("1w", "2024-01", *tables)
    assert (times[-1], left_out) == ("2024-01-22 00", 1)


def test_roll_up_leaves_out_week_without_next_month() -> None:
    times, left_out = rolled_up("1w", "2024-01", history("2024-01"))
    assert (times[-1], left_out) == ("2024-01-22 00", 1)


def test_roll_up_days_without_trades() -> None:
    quiet = {f"2024-01-{day:02}": raw_day(f"2024-01-{day:02}", hours=()) for day in range(1, 6)}
    times, left_out = rolled_up("1d", "2024-01", history("2024-01", quiet))
    assert (times[0], len(times), left_out) == ("2024-01-06 00", 26, 0)
    weeks, left_out = rolled_up("1w", "2024-01", history("2024-01", quiet), history("2024-02"))
    assert (weeks[0], len(weeks), left_out) == ("2024-01-01 00", 5, 0)


@pytest.mark.parametrize("days", [None, ()])
def test_roll_up_without_candles_is_empty(days: tuple[()] | None) -> None:
    tables = [] if days is None else [join_days(HOURS, "2024-01", {}, 31, "raw_candles")]
    table = roll_up(rollup("1w"), "2024-01", tables)
    assert table.schema.equals(SCHEMA)
    assert table.num_rows == 0
    assert table_fields(table)["candles_left_out"] == "0"


def test_roll_up_version_grows_with_history() -> None:
    january = history("2024-01")
    version, grown = (
        int(table_fields(roll_up(rollup("1w"), "2024-01", tables))["version"])
        for tables in ([january], [january, history("2024-02")])
    )
    assert (version, grown) == (31, 31 + 29)


def test_roll_up_refuses_history_of_version_0_1() -> None:
    old = with_fields(candles([day_start("2024-01-01")]), {"version": "1"})
    with pytest.raises(InvalidCandles, match="joined by an older version; materialise it again"):
        roll_up(rollup("4h"), "2024-01", [old])


class MadeUpGranularity(BucketLength):
    THREE_DAYS = "3d"


def test_roll_up_three_days_keeps_candle_of_last_day() -> None:
    three_days = MadeUpGranularity.THREE_DAYS
    made_up = Rollup("ETH-EUR", cast(RollupGranularity, three_days), HOURS)
    # 2024-01-31 is a multiple of three days after 1970-01-05.
    assert source_months(three_days, "2024-01") == ["2024-01", "2024-02"]
    table = roll_up(made_up, "2024-01", [history("2024-01"), history("2024-02")])
    last = table.slice(table.num_rows - 1).to_pylist()[0]
    assert (last["time"], last["volume"]) == (day_start("2024-01-31"), 72.0)
    assert table_fields(table)["candles_left_out"] == "0"
    assert touched_months(three_days, "2024-02") == ["2024-01", "2024-02"]


@pytest.mark.parametrize(
    ("granularity", "months_ahead"),
    [(MadeUpGranularity.THREE_DAYS, 1), (WEEK, 1), (RollupGranularity.ONE_DAY, 0)],
)
def test_rollup_asset_reads_next_month_if_buckets_span_months(
    granularity: BucketLength, months_ahead: int
) -> None:
    made_up = Rollup("ETH-EUR", cast(RollupGranularity, granularity), HOURS)
    asset = build_candle_rollup(made_up, date(2024, 1, 1))
    mapping = asset.get_partition_mapping(dg.AssetKey(CANDLE_HISTORY.asset_key(HOURS)))
    assert isinstance(mapping, dg.TimeWindowPartitionMapping)
    assert mapping.end_offset == months_ahead
