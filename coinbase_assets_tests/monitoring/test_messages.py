"""A message says what is wrong, since when, why, what helps, and where to look."""

from datetime import UTC, datetime

from coinbase_assets.monitoring.destinations import Level
from coinbase_assets.monitoring.incidents import Change, Event, Incident, Problem
from coinbase_assets.monitoring.kinds import RECOVERY, TROUBLE, Kind
from coinbase_assets.monitoring.messages import describe_change

NOW = datetime(2026, 3, 1, 14, 5, 30, tzinfo=UTC)
BEGAN = "2026-03-01T12:00:00Z"
WEB = "http://127.0.0.1:3000"


def stale(name: str) -> Problem:
    return Problem(
        name,
        Kind.STALE,
        "the exchange last answered 6 minutes ago",
        Level.WARNING,
        cause="no answer from the exchange",
        page=f"/assets/{name.replace(':', '/')}/raw_candles",
        remedy="wait",
    )


def incident(*problems: Problem, level: Level = Level.WARNING) -> Incident:
    subjects = [problem.subject for problem in problems]
    return Incident(BEGAN, problems[0].kind, subjects, problems, level, 1)


def test_message_of_one_series() -> None:
    message = describe_change(Change(Event.BEGINS, incident(stale("A-USD:1m"))), NOW, WEB)
    assert (message.title, message.level) == ("A-USD:1m: no recent candles", Level.WARNING)
    assert message.body.splitlines() == [
        "A-USD:1m: the exchange last answered 6 minutes ago",
        "Cause: no answer from the exchange",
        "Since 2026-03-01 12:00 UTC.",
        "What helps: wait",
        f"{WEB}/assets/A-USD/1m/raw_candles",
    ]


def test_message_of_storm_has_each_cause_once() -> None:
    storm = incident(*(stale(f"COIN{n}-USD:1m") for n in range(6)), level=Level.FAILURE)
    message = describe_change(Change(Event.WORSENS, storm), NOW, WEB)
    assert message.title == "6 series: no recent candles (worse)"
    assert message.level == Level.FAILURE
    assert message.body.splitlines()[6:] == [
        "Cause: no answer from the exchange",
        "Since 2026-03-01 12:00 UTC.",
        "What helps: wait",
        WEB,
    ]


def test_message_of_end_says_how_long_it_lasted() -> None:
    message = describe_change(Change(Event.ENDS, incident(stale("A-USD:1m"))), NOW, WEB)
    assert message.title == "A-USD:1m: recent candles arrive again"
    assert message.level == Level.SUCCESS
    assert message.body.splitlines() == [
        "A-USD:1m: recent candles arrive again.",
        "It lasted 2 hours 5 minutes, from 2026-03-01 12:00 UTC on.",
    ]


def test_message_of_end_names_what_is_no_longer_watched() -> None:
    both = incident(stale("A-USD:1m"), stale("B-USD:1m"))
    lines = describe_change(Change(Event.ENDS, both, ["B-USD:1m"]), NOW, None).body.splitlines()
    assert lines[:2] == [
        "A-USD:1m: recent candles arrive again.",
        "B-USD:1m: no longer watched.",
    ]
    gone = describe_change(Change(Event.ENDS, both, both.subjects), NOW, None)
    assert (gone.title, gone.level) == ("2 series: no longer watched", Level.INFO)


def test_every_kind_has_words() -> None:
    assert TROUBLE.keys() == RECOVERY.keys() == {*Kind}
