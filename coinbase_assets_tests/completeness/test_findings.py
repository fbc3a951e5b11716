"""What is found wrong in a broken month, and nothing in a good month."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from coinbase_assets.candles.calendar import DAY
from coinbase_assets.candles.days import Day
from coinbase_assets.candles.months import join_days
from coinbase_assets.candles.series import Series
from coinbase_assets.candles.table import candles_digest, merge_candles
from coinbase_assets.completeness.findings import (
    changed_days,
    descending_times,
    differing_days,
    impossible_prices,
    intervals_in,
    ledger_tiling_faults,
    repeated_times,
)
from coinbase_assets.completeness.ledger import COVERAGE_SCHEMA, State
from coinbase_assets_tests.stand_in.tables import candle_table

START = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
SERIES = Series.parse("ETH-EUR:1h")
NAN = float("nan")


def at(hours: float) -> datetime:
    return START + hours * HOUR


def text(*hours: float) -> list[str]:
    return [f"{at(hour):%FT%TZ}" for hour in hours]


def candles(*hours: int, price: float = 1.0) -> pa.Table:
    return candle_table([at(hour) for hour in hours], price)


# Times


@pytest.mark.parametrize(
    ("hours", "repeated"),
    [([], []), ([1], []), ([0, 1, 5], []), ([0, 1, 1, 5, 5, 5], [1, 5]), ([3, 1, 3], [3])],
)
def test_repeated_times_found(hours: list[int], repeated: list[int]) -> None:
    assert repeated_times(candles(*hours)) == text(*repeated)


@pytest.mark.parametrize(
    ("hours", "late"),
    [([], []), ([1], []), ([0, 1, 1, 5], []), ([0, 5, 3, 4, 6], [3, 4]), ([2, 1], [1])],
)
def test_descending_times_found(hours: list[int], late: list[int]) -> None:
    assert descending_times(candles(*hours)) == text(*late)


# Prices


def priced(**values: float) -> pa.Table:
    """Three candles; the one in the middle has these values."""
    good = {"open": 2.0, "high": 3.0, "low": 1.0, "close": 2.0}
    columns = {name: [value, values.get(name, value), value] for name, value in good.items()}
    return candle_table([at(0), at(1), at(2)], **columns)


@pytest.mark.parametrize(
    "values",
    [
        {"low": 3.5},
        {"high": 0.5},
        {"open": 0.9},
        {"open": 3.1},
        {"close": 0.9},
        {"close": 3.1},
        {"open": NAN},
        {"low": NAN},
    ],
)
def test_impossible_prices_found(values: dict[str, float]) -> None:
    (found,) = impossible_prices(priced(**values))
    ((name, value),) = values.items()
    assert found.startswith(text(1)[0])
    assert f"'{name}': {value}" in found


@pytest.mark.parametrize(
    "values",
    [{}, {"open": 1.0, "close": 3.0}, dict.fromkeys(("open", "high", "low", "close"), 7.0)],
)
def test_impossible_prices_accepts_equal_prices(values: dict[str, float]) -> None:
    assert impossible_prices(priced(**values)) == []
    assert impossible_prices(candles()) == []


# The month and its raw days


def month(**days: pa.Table) -> pa.Table:
    """Return January, joined from raw days with these candles; d02 is the day 2024-01-02."""
    tables = {}
    for name, table in days.items():
        start = START + (int(name[1:]) - 1) * DAY
        day = Day(SERIES, start, table, at(999), at(999), start, start + DAY, 1)
        tables[f"{start:%F}"] = day.to_table("")
    return join_days(SERIES, "2024-01", tables, 31, "")


FIRST, SECOND = candles(0, 23), candles(24, 30)
HISTORY = month(d01=FIRST, d02=SECOND)
DIGESTS = {"2024-01-01": candles_digest(FIRST), "2024-01-02": candles_digest(SECOND)}
EMPTY = candles_digest(candles())


def test_differing_days_none_for_equal_days() -> None:
    assert differing_days(HISTORY, DIGESTS) == []
    assert differing_days(month(), {}) == []
    assert differing_days(month(d31=candles()), {"2024-01-31": EMPTY}) == []


@pytest.mark.parametrize(
    "changed",
    [candles(24), candles(24, 29), candles(24, 30, price=2), candles(24, 30, 31), candles()],
)
def test_differing_days_other_candles(changed: pa.Table) -> None:
    digests = DIGESTS | {"2024-01-02": candles_digest(changed)}
    assert differing_days(HISTORY, digests) == ["2024-01-02: differs from the raw day"]
    assert differing_days(HISTORY, digests, frozenset({"2024-01-02"})) == []
    ahead_is_another = differing_days(HISTORY, digests, frozenset({"2024-01-01"}))
    assert ahead_is_another == ["2024-01-02: differs from the raw day"]


def test_differing_days_lost_or_changed_candle() -> None:
    lost = HISTORY.slice(1)
    assert differing_days(lost, DIGESTS) == ["2024-01-01: differs from the raw day"]
    metadata = HISTORY.schema.metadata
    changed = merge_candles(HISTORY, candles(30, price=9)).replace_schema_metadata(metadata)
    assert differing_days(changed, DIGESTS) == ["2024-01-02: differs from the raw day"]


def test_differing_days_day_on_one_side_only() -> None:
    only_first = {"2024-01-01": DIGESTS["2024-01-01"]}
    assert differing_days(HISTORY, only_first) == ["2024-01-02: in the history only"]
    more = DIGESTS | {"2024-01-09": EMPTY}
    assert differing_days(HISTORY, more) == ["2024-01-09: in the raw days only"]
    assert differing_days(HISTORY, more, frozenset({"2024-01-09"})) == []


def test_differing_days_counts_candles_of_no_raw_day() -> None:
    metadata = HISTORY.schema.metadata
    more = merge_candles(HISTORY, candles(100, 101)).replace_schema_metadata(metadata)
    assert differing_days(more, DIGESTS) == ["2 candles in no raw day"]


@pytest.mark.parametrize(
    ("fields", "changes"),
    [
        ({}, []),
        ({"candles_changed": "0", "candles_vanished": "0", "candles_unanswered": "0"}, []),
        ({"candles_changed": "2"}, ["2 changed"]),
        ({"candles_vanished": "1", "candles_unanswered": "3"}, ["1 vanished, 3 unanswered"]),
        ({"candles_changed": "10", "candles_unanswered": "0"}, ["10 changed"]),
        ({"candles_added": "10"}, []),
    ],
)
def test_changed_days_found(fields: Mapping[str, str], changes: list[str]) -> None:
    days = {"2024-01-09": fields, "2024-01-02": {}}
    assert changed_days(days) == [f"2024-01-09: {change}" for change in changes]


def test_changed_days_in_order() -> None:
    fields = {"candles_changed": "1"}
    found = changed_days({"2024-01-09": fields, "2024-01-02": fields})
    assert found == ["2024-01-02: 1 changed", "2024-01-09: 1 changed"]


# The ledger

Row = tuple[float, float, int, str]
TILES: list[Row] = [
    (0, 5, 5, "traded"),
    (5, 6, 1, "no_trades"),
    (6, 9, 3, "unconfirmed"),
    (9, 744, 735, "traded"),
]


def ledger(rows: list[Row]) -> pa.Table:
    rows_with_evidence = [
        dict(zip(COVERAGE_SCHEMA.names, (at(a), at(b), n, state, "why"), strict=True))
        for a, b, n, state in rows
    ]
    return pa.Table.from_pylist(rows_with_evidence, COVERAGE_SCHEMA)


def broken(rows: list[Row]) -> list[str]:
    return ledger_tiling_faults(ledger(rows), START, START + 31 * DAY, HOUR)


def test_intervals_in_state() -> None:
    table = ledger(TILES)
    assert intervals_in(table, State.UNCONFIRMED) == [
        "2024-01-01T06:00Z to 2024-01-01T09:00Z, 3 buckets: why"
    ]
    assert intervals_in(table, State.NOT_COLLECTED) == []
    assert len(intervals_in(table, State.TRADED)) == 2


def test_ledger_tiling_faults_none() -> None:
    assert broken(TILES) == []
    assert broken([(0, 744, 744, "traded")]) == []


@pytest.mark.parametrize(
    ("place", "rows", "hours"),
    [
        (0, [(1, 5, 4, "traded")], [1]),
        (0, [], [5]),
        (1, [], [6]),
        (1, [(5, 7, 2, "no_trades")], [6]),
        (1, [(5, 6, 2, "no_trades")], [5]),
        (1, [(5, 5, 0, "open"), (5, 6, 1, "no_trades")], [5]),
        (1, [(5, 6, 1, "unconfirmed")], [6]),
        (2, [(6, 8, 2, "unconfirmed"), (8, 9, 1, "unconfirmed")], [8]),
        (3, [(9, 743, 734, "traded")], [744]),
        (3, [(9, 745, 736, "traded")], [744]),
        (3, [], [744]),
        (2, [(6, 8.5, 2, "unconfirmed"), (8.5, 9, 1, "open")], [6, 8.5]),
    ],
)
def test_ledger_tiling_faults_found(place: int, rows: list[Row], hours: list[float]) -> None:
    found = broken(TILES[:place] + rows + TILES[place + 1 :])
    assert [finding[:20] for finding in found] == text(*hours)


def test_ledger_tiling_faults_without_intervals() -> None:
    assert broken([]) != []
