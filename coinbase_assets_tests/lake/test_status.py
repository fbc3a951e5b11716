"""What is told of a lake: which intervals are not explained, and up to where all is settled."""

import json
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest
from rich.console import Console

from coinbase_assets.candles.series import Series
from coinbase_assets.candles.table import empty_candles
from coinbase_assets.cli.status_report import print_json, print_status
from coinbase_assets.completeness.ledger import COVERAGE_SCHEMA, State, count_buckets
from coinbase_assets.lake.status import Question, SeriesStatus, series_status
from coinbase_assets.monitoring.freshness import FreshnessWindows
from coinbase_assets.monitoring.incidents import Incident
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets.table_metadata import with_fields
from coinbase_assets_tests.stand_in.tables import candle_table

HOURS = Series.parse("ETH-EUR:1h")
FOLDER = "product=ETH-EUR/granularity=1h"
TODAY = date(2024, 2, 3)
WINDOWS = FreshnessWindows(timedelta(hours=1), timedelta(hours=2))
EXPLAINED = {State.TRADED, State.NO_TRADES, State.BEFORE_LISTING, State.AFTER_DELISTING}

Interval = tuple[str, str, State]


def at(text: str) -> datetime:
    """Of 2024, such as 01-31T06."""
    return datetime.strptime(f"2024-{text}", "%Y-%m-%dT%H").replace(tzinfo=UTC)


def store_days(lake: ParquetStore, *days: str, settled: bool = True, **fields: str) -> None:
    """Days of 2024, such as 01-31."""
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


def status(lake: ParquetStore, today: date = TODAY) -> SeriesStatus:
    return series_status(lake, HOURS, today)


def asked(lake: ParquetStore, today: date = TODAY) -> list[tuple[datetime, datetime, State]]:
    return [(one.start, one.end, one.state) for one in status(lake, today).questions]


def test_an_empty_lake_is_not_complete(lake: ParquetStore) -> None:
    nothing = status(lake)
    assert (nothing.complete, nothing.explained, nothing.questions) == (False, 0.0, [])
    assert (nothing.candles, nothing.settled_through) == (0, None)
    assert nothing.age(at("02-03T00")) is None


@pytest.mark.parametrize("state", State)
def test_a_state_is_an_explanation_or_a_question(lake: ParquetStore, state: State) -> None:
    store_days(lake, "01-10", "01-11")
    store_ledger(
        lake,
        "01",
        ("01-01T00", "01-10T06", State.TRADED),
        ("01-10T06", "01-10T18", state),
        ("01-10T18", "02-01T00", State.NO_TRADES),
    )
    told = status(lake)
    if state in EXPLAINED:
        assert (told.complete, told.explained, told.questions) == (True, 1.0, [])
    else:
        question = Question(at("01-10T06"), at("01-10T18"), state, f"why {state}")
        assert (told.complete, told.explained, told.questions) == (False, 0.75, [question])


def test_only_the_days_from_the_first_collected_to_the_last_are_asked_about(
    lake: ParquetStore,
) -> None:
    store_days(lake, "01-10", "02-01")
    store_ledger(lake, "01", ("01-01T00", "02-01T00", State.NOT_COLLECTED))
    store_ledger(lake, "02", ("02-01T00", "03-01T00", State.UNCONFIRMED))
    assert asked(lake) == [
        (at("01-10T00"), at("02-01T00"), State.NOT_COLLECTED),
        (at("02-01T00"), at("02-02T00"), State.UNCONFIRMED),
    ]
    assert status(lake).explained == 0


def test_today_is_neither_asked_about_nor_counted(lake: ParquetStore) -> None:
    store_days(lake, "02-01", "02-02", "02-03")
    store_ledger(
        lake,
        "02",
        ("02-01T00", "02-02T12", State.TRADED),
        ("02-02T12", "03-01T00", State.NOT_COLLECTED),
    )
    assert asked(lake) == [(at("02-02T12"), at("02-03T00"), State.NOT_COLLECTED)]
    assert status(lake).explained == 0.75


@pytest.mark.parametrize(
    ("today", "end"), [("02-03", None), ("02-04", "02-03"), ("02-20", "02-04")]
)
def test_what_is_open_is_a_question_a_day_after_its_day(
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
    assert asked(lake, at(f"{today}T00").date()) == expected


def test_a_month_without_a_ledger_is_a_question(lake: ParquetStore) -> None:
    store_days(lake, "01-30", "02-02")
    store_ledger(lake, "02", ("02-01T00", "03-01T00", State.TRADED))
    (question,) = status(lake).questions
    assert (question.start, question.end) == (at("01-30T00"), at("02-01T00"))
    assert question.state == State.NOT_COLLECTED
    assert question.evidence == "no ledger is stored"
    assert question.days == ["2024-01-30", "2024-01-31"]


@pytest.mark.parametrize(
    ("start", "end", "days"),
    [
        ("01-30T00", "01-31T00", ["2024-01-30"]),
        ("01-30T23", "01-31T01", ["2024-01-30", "2024-01-31"]),
    ],
)
def test_a_question_lies_in_days(start: str, end: str, days: list[str]) -> None:
    assert Question(at(start), at(end), State.UNCONFIRMED, "").days == days


@pytest.mark.parametrize(
    ("unsettled", "missing", "state", "through"),
    [
        ([], [], State.TRADED, date(2024, 2, 2)),
        (["01-31"], [], State.TRADED, date(2024, 1, 30)),
        (["01-30"], [], State.TRADED, None),
        ([], ["01-31"], State.NOT_COLLECTED, date(2024, 1, 30)),
        ([], ["01-31"], State.AFTER_DELISTING, date(2024, 2, 2)),
        # What is not explained of a day that is settled is a question, not a doubt about its end.
        ([], [], State.UNCONFIRMED, date(2024, 2, 2)),
    ],
)
def test_all_days_are_settled_up_to_one(
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


def test_the_history_says_how_many_candles_there_are_and_from_when_to_when(
    lake: ParquetStore,
) -> None:
    store_history(lake, "01", 3, "01-30T05", "01-31T20")
    store_history(lake, "02", 2, "02-01T00", "02-02T22")
    told = status(lake)
    assert (told.candles, told.months) == (5, 2)
    assert (told.first_candle, told.last_candle) == (at("01-30T05"), at("02-02T22"))
    assert told.age(at("02-03T01")) == timedelta(hours=2)


# As it is read.


def printed(lake: ParquetStore, capsys: pytest.CaptureFixture[str]) -> tuple[bool, list[str]]:
    complete = print_status(Console(highlight=False, soft_wrap=True), lake, [HOURS])
    return complete, capsys.readouterr().out.splitlines()


def test_a_complete_series_is_called_so(
    lake: ParquetStore, capsys: pytest.CaptureFixture[str]
) -> None:
    store_days(lake, "01-30", disagreement="differs from the daily candle")
    store_ledger(lake, "01", ("01-01T00", "02-01T00", State.TRADED))
    complete, lines = printed(lake, capsys)
    assert complete
    assert lines[0].split()[-2:] == ["settled", "explained"]
    assert lines[1].split()[-2:] == ["2024-01-30", "complete"]
    assert lines[2] == "ETH-EUR:1h: 2024-01-30 differs from the daily candle"
    assert print_json(lake, {HOURS: WINDOWS})
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["complete"], told["explained"], told["open_questions"]) == (True, 1, [])
    assert told["disagreements"] == {"2024-01-30": "differs from the daily candle"}


def test_the_share_explained_is_cut_and_not_rounded_up(
    lake: ParquetStore, capsys: pytest.CaptureFixture[str]
) -> None:
    store_days(lake, "01-01", "01-31", "12-31")
    for month in range(1, 13):
        end = f"{month + 1:02}-01T00" if month < 12 else "12-31T23"
        store_ledger(lake, f"{month:02}", (f"{month:02}-01T00", end, State.TRADED))
    path = f"candle_coverage/{FOLDER}/month=2024-06/coverage.parquet"
    lake._container.delete_blob(path)
    store_ledger(lake, "06", ("06-01T00", "06-01T01", State.UNCONFIRMED))
    complete, lines = printed(lake, capsys)
    assert not complete
    # 8,783 of 8,784 hours are 99.9886 %.
    assert lines[1].endswith(" 99.98 %")


def test_the_first_open_questions_are_shown_and_programs_get_all(
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
    assert lines[7] == "ETH-EUR:1h: and 2 more; see --json"
    assert lines[8] == f"Container {lake.container_uri}; the history lies in candle_history/"
    assert not print_json(lake, {HOURS: WINDOWS})
    (told,) = json.loads(capsys.readouterr().out)
    assert told["open_questions"][6] == {
        "start": "2024-01-01T12:00:00Z",
        "end": "2024-01-01T13:00:00Z",
        "buckets": 1,
        "state": "unconfirmed",
        "evidence": "why unconfirmed",
    }
    assert len(told["open_questions"]) == 7


def test_programs_get_these_keys_also_of_an_empty_lake(
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
            "answered_through": None,
            "fresh": False,
            "problems": [],
        }
    ]


@pytest.mark.parametrize(("behind", "fresh"), [(1, True), (3, False)])
def test_programs_are_told_whether_a_series_is_fresh_and_what_is_wrong(
    lake: ParquetStore, capsys: pytest.CaptureFixture[str], behind: int, fresh: bool
) -> None:
    through = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=behind)
    store_days(lake, "01-01", answered_through=f"{through:%FT%TZ}")
    incidents = [Incident("now", ["ETH-EUR:1h"], {"ETH-EUR:1h": ["late"]})]
    print_json(lake, {HOURS: WINDOWS}, incidents)
    (told,) = json.loads(capsys.readouterr().out)
    assert told["answered_through"] == f"{through:%FT%TZ}"
    assert (told["fresh"], told["problems"]) == (fresh, ["late"])
