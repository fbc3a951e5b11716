"""The status of a series: its unexplained intervals, its settled days, and how it is printed."""

import json
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest
from azure.storage.blob import ContainerClient

from coinbase_assets.candles.series import Rollup, RollupGranularity, Series
from coinbase_assets.candles.table import empty_candles
from coinbase_assets.cli.console import PlainConsole
from coinbase_assets.cli.status_report import print_json, print_status, print_with_problems
from coinbase_assets.completeness.ledger import COVERAGE_SCHEMA, State, count_buckets
from coinbase_assets.lake.day_states import explain_bucket
from coinbase_assets.lake.status import SeriesStatus, UnexplainedInterval, series_status
from coinbase_assets.monitoring.freshness import FreshnessWindows
from coinbase_assets.monitoring.incidents import Incident, Problem
from coinbase_assets.monitoring.kinds import Kind
from coinbase_assets.storage.errors import BlobDamaged
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets.table_metadata import table_fields, with_fields
from coinbase_assets_tests.stand_in.tables import candle_table

HOURS = Series.parse("ETH-EUR:1h")
FOLDER = "product=ETH-EUR/granularity=1h"
TODAY = date(2024, 2, 3)
WINDOWS = FreshnessWindows(timedelta(hours=1), timedelta(hours=2))
EXPLAINED = {*State} - {State.UNCONFIRMED, State.NOT_COLLECTED, State.OPEN}

Interval = tuple[str, str, State]


def at(text: str) -> datetime:
    """Return the time in 2024 of a text like 01-31T06."""
    return datetime.strptime(f"2024-{text}", "%Y-%m-%dT%H").replace(tzinfo=UTC)


def store_days(lake: ParquetStore, *days: str, settled: bool = True, **fields: str) -> None:
    """Store days of 2024, given like 01-31."""
    table = with_fields(empty_candles(), {"settled": str(settled).lower(), **fields})
    for day in days:
        lake.put(f"raw_candles/{FOLDER}/date=2024-{day}/candles.parquet", table, None)


def store_ledger(lake: ParquetStore, month: str, *intervals: Interval) -> None:
    rows = [
        {
            "start": at(start),
            "end": at(end),
            "buckets": (at(end) - at(start)) // timedelta(hours=1),
            "state": state.value,
            "evidence": f"why {state}",
        }
        for start, end, state in intervals
    ]
    ledger = pa.Table.from_pylist(rows, COVERAGE_SCHEMA)
    counts = {f"buckets_{state}": str(count) for state, count in count_buckets(ledger).items()}
    path = f"candle_coverage/{FOLDER}/month=2024-{month}/coverage.parquet"
    lake.put(path, with_fields(ledger, counts), None)


def store_history(lake: ParquetStore, month: str, rows: int, first: str, last: str) -> None:
    table = candle_table([at(first)] * rows)
    fields = {"first_candle": f"2024-{first}:00:00Z", "last_candle": f"2024-{last}:00:00Z"}
    path = f"candle_history/{FOLDER}/month=2024-{month}/candles.parquet"
    lake.put(path, with_fields(table, fields), None)


def store_listing(lake: ParquetStore) -> None:
    lake.put(
        "listings/product=ETH-EUR/listing.parquet", pa.table({"first_day": ["2024-01-01"]}), None
    )


def status(lake: ParquetStore, today: date = TODAY) -> SeriesStatus:
    return series_status(lake, HOURS, today)


def unexplained(lake: ParquetStore, today: date = TODAY) -> list[tuple[datetime, datetime, State]]:
    return [
        (interval.start, interval.end, interval.state)
        for interval in status(lake, today).unexplained
    ]


def test_status_empty_lake_is_not_complete(lake: ParquetStore) -> None:
    nothing = status(lake)
    assert (nothing.complete, nothing.explained, nothing.unexplained) == (False, 0.0, [])
    assert (nothing.candles, nothing.settled_through) == (0, None)
    assert nothing.age(at("02-03T00")) is None


@pytest.mark.parametrize("state", [each for each in State if each != State.NOT_COLLECTED])
def test_status_state_explains_or_not(lake: ParquetStore, state: State) -> None:
    store_days(lake, "01-10", "01-11")
    store_ledger(
        lake,
        "01",
        ("01-01T00", "01-10T06", State.TRADED),
        ("01-10T06", "01-10T18", state),
        ("01-10T18", "02-01T00", State.NO_TRADES),
    )
    store_listing(lake)
    found = status(lake)
    if state in EXPLAINED:
        assert (found.complete, found.explained, found.unexplained) == (True, 1.0, [])
    else:
        interval = UnexplainedInterval(at("01-10T06"), at("01-10T18"), state, f"why {state}")
        assert (found.complete, found.explained, found.unexplained) == (False, 0.75, [interval])


def test_status_covers_first_to_last_collected_day(
    lake: ParquetStore,
) -> None:
    store_days(lake, "01-10", "02-01")
    store_ledger(lake, "01", ("01-01T00", "02-01T00", State.NOT_COLLECTED))
    store_ledger(lake, "02", ("02-01T00", "03-01T00", State.UNCONFIRMED))
    assert unexplained(lake) == [
        (at("01-10T00"), at("01-11T00"), State.PENDING),
        (at("01-11T00"), at("02-01T00"), State.NOT_COLLECTED),
        (at("02-01T00"), at("02-02T00"), State.UNCONFIRMED),
    ]
    assert status(lake).explained == 0


def test_status_excludes_today(lake: ParquetStore) -> None:
    store_days(lake, "02-01", "02-02", "02-03")
    store_ledger(
        lake,
        "02",
        ("02-01T00", "02-02T12", State.TRADED),
        ("02-02T12", "03-01T00", State.UNCONFIRMED),
    )
    assert unexplained(lake) == [(at("02-02T12"), at("02-03T00"), State.UNCONFIRMED)]
    assert status(lake).explained == 0.75


@pytest.mark.parametrize(
    ("today", "end"), [("02-03", None), ("02-04", "02-03"), ("02-20", "02-04")]
)
def test_status_open_is_unexplained_after_a_day(
    lake: ParquetStore, today: str, end: str | None
) -> None:
    store_days(lake, "02-01", "02-02", "02-03")
    store_ledger(
        lake,
        "02",
        ("02-01T00", "02-02T12", State.TRADED),
        ("02-02T12", "03-01T00", State.OPEN),
    )
    expected = [(at("02-02T12"), at(f"{end}T00"), State.OPEN)] if end else []
    assert unexplained(lake, at(f"{today}T00").date()) == expected


@pytest.mark.parametrize("column", [*COVERAGE_SCHEMA.names, "unknown state", "type", "null"])
def test_status_of_damaged_ledger_is_one_line(lake: ParquetStore, column: str) -> None:
    store_days(lake, "01-01")
    store_ledger(lake, "01", ("01-01T00", "01-02T00", State.UNCONFIRMED))
    (path,) = lake.list("candle_coverage/")
    ledger, end = lake.get(path), COVERAGE_SCHEMA.get_field_index("end")
    damaged = {
        "unknown state": ledger.set_column(3, "state", [["[/nope]"]]),
        "type": ledger.set_column(end, "end", [["2024-01-02"]]),
        "null": ledger.set_column(end, "end", pa.nulls(1, COVERAGE_SCHEMA.field(end).type)),
    }
    fields = table_fields(ledger)
    table = damaged[column] if column in damaged else ledger.drop_columns([column])
    lake.put(path, with_fields(table, fields), lake.list(path)[path])
    with pytest.raises(BlobDamaged, match=f"{path}: not a ledger; materialise"):
        status(lake)


def test_status_month_without_ledger_is_unexplained(lake: ParquetStore) -> None:
    store_days(lake, "01-28", "01-29", "02-02")
    store_ledger(lake, "02", ("02-01T00", "03-01T00", State.TRADED))
    stored, lacking = status(lake).unexplained
    assert stored == UnexplainedInterval(
        at("01-28T00"), at("01-30T00"), State.PENDING, "stored, not joined yet"
    )
    assert lacking == UnexplainedInterval(
        at("01-30T00"), at("02-01T00"), State.NOT_COLLECTED, "no answer is stored"
    )
    assert lacking.days == ["2024-01-30", "2024-01-31"]


def test_status_days_stored_after_their_ledger_are_not_joined(lake: ParquetStore) -> None:
    store_days(lake, "01-01", "01-03", "01-05")
    store_ledger(
        lake,
        "01",
        ("01-01T00", "01-02T00", State.TRADED),
        ("01-02T00", "02-01T00", State.NOT_COLLECTED),
    )
    assert unexplained(lake) == [
        (at("01-02T00"), at("01-03T00"), State.NOT_COLLECTED),
        (at("01-03T00"), at("01-04T00"), State.PENDING),
        (at("01-04T00"), at("01-05T00"), State.NOT_COLLECTED),
        (at("01-05T00"), at("01-06T00"), State.PENDING),
    ]
    joined, lacking, late = (explain_bucket(lake, HOURS, at(f"01-0{n}T05")) for n in (1, 2, 3))
    assert joined.state == State.TRADED
    assert (lacking.state, lacking.end) == (State.NOT_COLLECTED, at("02-01T00"))
    assert (late.state, late.evidence) == (State.PENDING, "stored, not joined yet")


def test_bucket_of_stored_day_without_ledger_is_not_joined(lake: ParquetStore) -> None:
    store_days(lake, "01-01")
    stored, lacking = (explain_bucket(lake, HOURS, at(f"01-0{n}T05")) for n in (1, 2))
    assert (stored.state, stored.evidence) == (State.PENDING, "stored, not joined yet")
    assert (lacking.state, lacking.evidence) == (State.NOT_COLLECTED, "no answer is stored")


@pytest.mark.parametrize(
    ("start", "end", "days"),
    [
        ("01-30T00", "01-31T00", ["2024-01-30"]),
        ("01-30T23", "01-31T01", ["2024-01-30", "2024-01-31"]),
    ],
)
def test_unexplained_interval_days(start: str, end: str, days: list[str]) -> None:
    assert UnexplainedInterval(at(start), at(end), State.UNCONFIRMED, "").days == days


@pytest.mark.parametrize(
    ("unsettled", "missing", "state", "through"),
    [
        ([], [], State.TRADED, date(2024, 2, 2)),
        (["01-31"], [], State.TRADED, date(2024, 1, 30)),
        (["01-30"], [], State.TRADED, None),
        ([], ["01-31"], State.NOT_COLLECTED, date(2024, 1, 30)),
        ([], ["01-31"], State.AFTER_DELISTING, date(2024, 2, 2)),
        # A settled day may hold an unexplained interval.
        ([], [], State.UNCONFIRMED, date(2024, 2, 2)),
    ],
)
def test_status_settled_through(
    lake: ParquetStore, unsettled: list[str], missing: list[str], state: State, through: date | None
) -> None:
    days = {"01-30", "01-31", "02-01", "02-02", "02-03"} - set(missing)
    store_days(lake, *sorted(days - set(unsettled)))
    store_days(lake, *unsettled, settled=False)
    store_ledger(
        lake,
        "01",
        ("01-01T00", "01-31T00", State.TRADED),
        ("01-31T00", "02-01T00", state),
    )
    store_ledger(lake, "02", ("02-01T00", "03-01T00", State.TRADED))
    assert status(lake).settled_through == through


def test_status_counts_candles_of_history(
    lake: ParquetStore,
) -> None:
    store_history(lake, "01", 3, "01-30T05", "01-31T20")
    store_history(lake, "02", 2, "02-01T00", "02-02T22")
    found = status(lake)
    assert (found.candles, found.months) == (5, 2)
    assert (found.first_candle, found.last_candle) == (at("01-30T05"), at("02-02T22"))
    assert found.age(at("02-03T01")) == timedelta(hours=2)


# Printed


def printed(lake: ParquetStore, capsys: pytest.CaptureFixture[str]) -> tuple[bool, list[str]]:
    (found,) = print_status(PlainConsole(), lake, [HOURS])
    return found.complete, capsys.readouterr().out.splitlines()


def test_print_status_complete_series(
    lake: ParquetStore, capsys: pytest.CaptureFixture[str]
) -> None:
    store_days(lake, "01-30", disagreement="differs from the daily candle")
    store_ledger(lake, "01", ("01-01T00", "02-01T00", State.TRADED))
    complete, lines = printed(lake, capsys)
    assert complete
    assert lines[0].split()[-2:] == ["settled", "explained"]
    assert lines[1].split()[-2:] == ["2024-01-30", "complete"]
    assert lines[2] == "ETH-EUR:1h: 2024-01-30 differs from the daily candle"
    print_json(lake, {HOURS: WINDOWS})
    (shown,) = json.loads(capsys.readouterr().out)
    assert (shown["complete"], shown["explained"], shown["open_questions"]) == (True, 1, [])
    assert shown["disagreements"] == {"2024-01-30": "differs from the daily candle"}


def test_print_status_percent_is_not_rounded_up(
    lake: ParquetStore, container: ContainerClient, capsys: pytest.CaptureFixture[str]
) -> None:
    store_days(lake, "01-01", "01-31", "12-31")
    for month in range(1, 13):
        end = f"{month + 1:02}-01T00" if month < 12 else "12-31T23"
        store_ledger(lake, f"{month:02}", (f"{month:02}-01T00", end, State.TRADED))
    path = f"candle_coverage/{FOLDER}/month=2024-06/coverage.parquet"
    container.delete_blob(path)
    store_ledger(lake, "06", ("06-01T00", "06-01T01", State.UNCONFIRMED))
    complete, lines = printed(lake, capsys)
    assert not complete
    # 8,783 of 8,784 hours are 99.9886 %.
    assert lines[1].endswith(" 99.98 %")


def test_print_status_shows_first_intervals_json_all(
    lake: ParquetStore, capsys: pytest.CaptureFixture[str]
) -> None:
    store_days(lake, "01-01", "01-02")
    holes = [
        (f"01-01T{hour:02}", f"01-01T{hour + 1:02}", State.UNCONFIRMED) for hour in range(0, 14, 2)
    ]
    store_ledger(lake, "01", *holes)
    complete, lines = printed(lake, capsys)
    assert not complete
    assert lines[2] == (
        "ETH-EUR:1h: 2024-01-01 00:00 to 2024-01-01 01:00 unconfirmed: why unconfirmed"
    )
    assert lines[7] == "ETH-EUR:1h: 2 more; see status --json"
    assert lines[8] == f"Container {lake.container_uri}; the history is in candle_history/"
    assert not print_json(lake, {HOURS: WINDOWS})
    (shown,) = json.loads(capsys.readouterr().out)
    assert shown["open_questions"][6] == {
        "start": "2024-01-01T12:00:00Z",
        "end": "2024-01-01T13:00:00Z",
        "buckets": 1,
        "state": "unconfirmed",
        "evidence": "why unconfirmed",
    }
    assert len(shown["open_questions"]) == 7


def test_print_json_keys_of_empty_lake(
    lake: ParquetStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not print_json(lake, {HOURS: WINDOWS})
    assert json.loads(capsys.readouterr().out) == [
        {
            "series": "ETH-EUR:1h",
            "complete": False,
            "explained": 0,
            "candles": 0,
            "first_candle": None,
            "last_candle": None,
            "age_seconds": None,
            "days": 0,
            "months": 0,
            "settled_through": None,
            "open_questions": [],
            "disagreements": {},
            "damage": [],
            "foreign": [],
            "buckets": dict.fromkeys(State, 0),
            "from_trades": 0,
            "agreement": {},
            "answered_through": None,
            "fresh": False,
            "problems": ["no recent candles: nothing is collected yet"],
        }
    ]


@pytest.mark.parametrize(
    ("behind", "fresh", "problem"),
    [
        (timedelta(minutes=30), True, "nothing is collected yet"),
        (timedelta(minutes=90), True, "the exchange last answered 1 hour 30 minutes ago"),
        (timedelta(hours=3), False, "the exchange last answered 3 hours ago"),
    ],
)
def test_status_of_late_series(
    lake: ParquetStore,
    capsys: pytest.CaptureFixture[str],
    behind: timedelta,
    fresh: bool,
    problem: str,
) -> None:
    through = datetime.now(UTC).replace(microsecond=0) - behind
    store_days(lake, "01-01", answered_through=f"{through:%FT%TZ}")
    store_ledger(lake, "01", ("01-01T00", "02-01T00", State.TRADED))
    assert print_json(lake, {HOURS: WINDOWS}) == fresh
    (shown,) = json.loads(capsys.readouterr().out)
    assert shown["answered_through"] == f"{through:%FT%TZ}"
    assert shown["fresh"] == fresh
    (text,) = shown["problems"]
    assert text.startswith(f"no recent candles: {problem}")
    assert print_with_problems(PlainConsole(), lake, {HOURS: WINDOWS}, [], []) == fresh
    assert capsys.readouterr().out.splitlines()[-1] == f"ETH-EUR:1h: {text}"


def test_status_has_problems_of_configured_series_only(
    lake: ParquetStore, capsys: pytest.CaptureFixture[str]
) -> None:
    store_days(lake, "01-01", answered_through=f"{datetime.now(UTC):%FT%TZ}")
    store_ledger(lake, "01", ("01-01T00", "01-01T02", State.UNCONFIRMED))
    failed = [
        Problem(name, Kind.RUN_FAILED, "run 1 failed")
        for name in ("ETH-EUR:1h", "ETH-EUR:4h", "ETH-EUR:6h", "DOGE-USD:1h")
    ]
    # The lake itself shows whether a series is stale; what the alerts last saw may be over.
    stale = Problem("ETH-EUR:1h", Kind.STALE, "late")
    incidents = [
        Incident("", problem.kind, [problem.subject], [problem]) for problem in [*failed, stale]
    ]
    rollups = [Rollup("ETH-EUR", RollupGranularity.FOUR_HOURS, HOURS)]
    print_json(lake, {HOURS: WINDOWS}, incidents, rollups)
    (shown,) = json.loads(capsys.readouterr().out)
    assert shown["problems"] == [
        "no recent candles: nothing is collected yet",
        "unexplained holes: the first of 1 begins at 2024-01-01 00:00 UTC",
        *["a run failed: run 1 failed"] * 2,
    ]
    print_with_problems(PlainConsole(), lake, {HOURS: WINDOWS}, incidents, rollups)
    lines = [line for line in capsys.readouterr().out.splitlines() if "failed" in line]
    assert lines == [f"ETH-EUR:{each}: a run failed: run 1 failed" for each in ("1h", "4h")]
