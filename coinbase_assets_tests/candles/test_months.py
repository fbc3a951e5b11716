"""Months, joined from raw days."""

from datetime import timedelta

import pyarrow as pa
import pytest

from coinbase_assets.candles.calendar import DAY, day_start, month_range
from coinbase_assets.candles.days import Day
from coinbase_assets.candles.evidence import Evidence
from coinbase_assets.candles.months import (
    answered_until,
    days_digest,
    join_days,
    raw_days,
    unchanged_days,
)
from coinbase_assets.candles.series import Series
from coinbase_assets.candles.table import SCHEMA, InvalidCandles
from coinbase_assets.table_metadata import table_fields, with_fields
from coinbase_assets_tests.stand_in.tables import candle_table

SERIES = Series.parse("ETH-EUR:6h")


def raw_day(
    key: str,
    hours: tuple[int, ...] = (0, 6, 12, 18),
    late: int = 30,
    evidence: Evidence | None = None,
) -> pa.Table:
    """Return a stored raw day, asked for `late` days after its start; all volumes are `late`."""
    start = day_start(key)
    asked = start + late * DAY
    times = [start + timedelta(hours=hour) for hour in hours]
    candles = candle_table(times, volume=float(late))
    day = Day(SERIES, start, candles, asked, asked, start, start + DAY, 1, evidence)
    return day.to_table("https://exchange")


def join(month: str, days: dict[str, pa.Table], expected: int = 31) -> pa.Table:
    return join_days(SERIES, month, days, expected, "raw_candles")


@pytest.mark.parametrize(
    ("month", "length"), [("2023-02", 28), ("2024-02", 29), ("2024-04", 30), ("2024-12", 31)]
)
def test_join_days_holds_all_candles(month: str, length: int) -> None:
    start, end = month_range(month)
    keys = [f"{start + number * DAY:%F}" for number in range(length)]
    days = {key: raw_day(key) for key in keys}
    joined = join(month, dict(reversed(days.items())), length)
    assert joined["time"].to_pylist() == [start + n * timedelta(hours=6) for n in range(4 * length)]
    assert joined.schema.equals(SCHEMA)
    assert table_fields(joined) == {
        "series": "ETH-EUR:6h",
        "source": "raw_candles",
        "version": str(sum(int(table_fields(day)["version"]) for day in days.values())),
        "made_of": days_digest({key: table_fields(day) for key, day in days.items()}),
        "days_held": f"1-{length}",
        "days": str(length),
        "days_missing": "0",
        "first_candle": f"{start:%FT%TZ}",
        "last_candle": f"{end - timedelta(hours=6):%FT%TZ}",
    }


def test_join_days_without_days_is_empty() -> None:
    joined = join("2024-01", {})
    assert joined.equals(SCHEMA.empty_table())
    assert raw_days(joined) == {}
    fields = table_fields(joined)
    assert (fields["days"], fields["days_missing"], fields["version"]) == ("0", "31", "0")
    assert {"first_candle", "last_candle"}.isdisjoint(fields)


@pytest.mark.parametrize("also", [{"2024-01-02": 30}, {"2024-01-01": 31}])
def test_join_days_version_grows(also: dict[str, int]) -> None:
    first = {"2024-01-01": raw_day("2024-01-01", late=30)}
    more = first | {key: raw_day(key, late=late) for key, late in also.items()}
    before, after = (int(table_fields(join("2024-01", days))["version"]) for days in (first, more))
    assert before < after


def test_raw_days_keeps_fields() -> None:
    evidence = Evidence(day_start("2024-06-01"), "the 1h candles agree")
    days = {
        "2024-01-01": raw_day("2024-01-01", evidence=evidence),
        "2024-01-31": raw_day("2024-01-31", ()),
    }
    kept = raw_days(join("2024-01", days))
    assert list(kept) == list(days)
    first, last = kept["2024-01-01"], kept["2024-01-31"]
    assert Evidence.from_fields(first) == evidence
    assert Evidence.from_fields(last) is None
    for key, fields in kept.items():
        assert fields.items() <= table_fields(days[key]).items()
        assert {
            "version",
            "digest",
            "fetched_at",
            "refreshed_at",
            "answered_through",
            "settled",
        } <= (fields.keys())


def test_raw_days_survive_selected_columns_and_new_fields() -> None:
    joined = join("2024-01", {"2024-01-01": raw_day("2024-01-01")})
    assert raw_days(with_fields(joined.select(["time"]), {"rows": "4"})) == raw_days(joined)


@pytest.mark.parametrize("table", [SCHEMA.empty_table(), with_fields(SCHEMA.empty_table(), {})])
def test_raw_days_refuses_month_of_version_0_1(table: pa.Table) -> None:
    with pytest.raises(InvalidCandles, match="materialise it again"):
        raw_days(table)


@pytest.mark.parametrize("newer", ["2024-01-01", "2024-01-02"])
def test_join_days_newer_day_wins(newer: str) -> None:
    late = {key: 40 if key == newer else 30 for key in ("2024-01-01", "2024-01-02")}
    days = {
        "2024-01-01": raw_day("2024-01-01", (0, 24), late["2024-01-01"]),
        "2024-01-02": raw_day("2024-01-02", (0,), late["2024-01-02"]),
    }
    for order in (days, dict(reversed(days.items()))):
        volumes = join("2024-01", order)["volume"].to_pylist()
        assert volumes == [late["2024-01-01"], 40]


@pytest.mark.parametrize("hours", [(-6,), (31 * 24,), (1,)])
def test_join_days_refuses_times_outside_month_or_grid(hours: tuple[int, ...]) -> None:
    with pytest.raises(InvalidCandles, match="time"):
        join("2024-01", {"2024-01-01": raw_day("2024-01-01", hours)})


KEYS = ("2024-01-01", "2024-01-02")


def fields_of(days: dict[str, pa.Table]) -> dict[str, dict[str, str]]:
    return {key: table_fields(day) for key, day in days.items()}


def test_unchanged_days_join_to_the_same_month() -> None:
    days = {key: raw_day(key) for key in KEYS}
    joined = join("2024-01", days)
    held = unchanged_days(joined, fields_of(days))
    assert held.keys() == {*KEYS}
    assert join("2024-01", held).equals(joined, check_metadata=True)


def test_unchanged_days_leaves_out_newer_and_new_days() -> None:
    joined = join("2024-01", {KEYS[0]: raw_day(KEYS[0])})
    newer = {KEYS[0]: raw_day(KEYS[0], late=31), KEYS[1]: raw_day(KEYS[1])}
    assert unchanged_days(joined, fields_of(newer)) == {}


def test_unchanged_days_leaves_out_days_without_digest() -> None:
    days = {key: with_fields(raw_day(key), {"digest": ""}) for key in KEYS}
    without = {key: {"version": fields["version"]} for key, fields in fields_of(days).items()}
    assert unchanged_days(join("2024-01", days), without) == {}


def test_unchanged_days_leaves_out_differing_candles() -> None:
    days = {key: raw_day(key) for key in KEYS}
    joined = join("2024-01", days)
    volume = joined["volume"].to_pylist()
    spoilt = joined.set_column(5, "volume", pa.array([volume[0] + 1, *volume[1:]]))
    assert unchanged_days(spoilt, fields_of(days)).keys() == {KEYS[1]}


@pytest.mark.parametrize(
    "damage",
    [
        b"?",
        b"\xff",
        b"[]",
        b"[" * 8000,
        b'{"[/x]": {}}',
        b'{"2024-01-01": 5}',
        b'{"2024-01-01": {"version": 5}}',
        b'{"2024-01-01": {"answered_through": "many"}}',
    ],
)
def test_damaged_raw_days_are_refused(damage: bytes) -> None:
    month = SCHEMA.empty_table().replace_schema_metadata({b"raw_days": damage})
    with pytest.raises(InvalidCandles, match="materialise"):
        [fields["answered_through"] for fields in raw_days(month).values()]
    assert answered_until(month) == {}
