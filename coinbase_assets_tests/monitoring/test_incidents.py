"""An incident causes one message when it begins and one when it is over."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from coinbase_assets.monitoring.incidents import (
    Incident,
    Problem,
    read_incident,
    update_incidents,
)

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATE = ["answers_are_recent: late"]
SIX = [f"COIN{n}-USD:1m" for n in range(6)]


class Watch:
    """Evaluations half a minute apart. The incidents go through JSON, as they are stored."""

    def __init__(self, *watched: str) -> None:
        self.watched: Sequence[str] = watched or (*SIX, "A-USD:1m")
        self.now = START
        self.incidents: Sequence[Incident] = ()

    def look(self, *late: str, urgent: Sequence[str] = ()) -> list[str]:
        return self.look_at(dict.fromkeys(late, LATE), urgent)

    def look_at(
        self, problems: Mapping[str, Sequence[str]], urgent: Sequence[str] = ()
    ) -> list[str]:
        self.now += timedelta(seconds=30)
        found = [
            Problem(name, "late", text, name in urgent)
            for name, texts in problems.items()
            for text in texts
        ]
        update = update_incidents(self.incidents, found, self.now, self.watched)
        stored = json.loads(json.dumps([asdict(incident) for incident in update.incidents]))
        self.incidents = [read_incident(incident) for incident in stored]
        assert self.incidents == update.incidents
        self.bodies = [message.body for message in update.messages]
        self.ids = [message.id for message in update.messages]
        return [message.title for message in update.messages]


def test_incident_reported_at_begin_and_end_only() -> None:
    watch = Watch()
    titles = [watch.look(*late) for late in ([], ["A-USD:1m"], *[["A-USD:1m"]] * 5, [], [])]
    assert titles == [[], [], ["A-USD:1m: trouble"], [], [], [], [], ["A-USD:1m: recovered"], []]


def test_incident_seen_once_is_not_reported() -> None:
    watch = Watch()
    assert [watch.look("A-USD:1m"), watch.look(), watch.look()] == [[], [], []]


def test_incident_urgent_is_reported_at_once() -> None:
    assert Watch().look("A-USD:1m", urgent=["A-USD:1m"]) == ["A-USD:1m: trouble"]


def test_incident_joins_problems_of_series() -> None:
    watch = Watch()
    watch.look_at({"A-USD:1m": ["stale"]})
    assert watch.look_at({"A-USD:1m": ["stale", "late"]}) == ["A-USD:1m: trouble"]
    assert watch.bodies == ["A-USD:1m: stale\nA-USD:1m: late"]
    assert watch.look_at({"A-USD:1m": ["a run failed"]}) == []
    assert watch.look_at({"A-USD:1m": ["late"]}, urgent=["A-USD:1m"]) == []
    assert watch.look_at({}) == ["A-USD:1m: recovered"]


def test_incident_per_series_below_storm() -> None:
    watch = Watch()
    watch.look(*SIX[:4])
    assert watch.look(*SIX[:4]) == [f"{name}: trouble" for name in SIX[:4]]
    assert watch.look(SIX[0]) == [f"{name}: recovered" for name in SIX[1:4]]


def test_incident_storm_is_one_message_at_each_end() -> None:
    watch = Watch()
    watch.look(*SIX)
    assert watch.look(*SIX) == ["6 series: trouble"]
    assert all(name in watch.bodies[0] for name in SIX)
    assert [watch.look(*SIX[:3]), watch.look(*SIX[:1]), watch.look(*SIX[:2])] == [[], [], []]
    assert watch.look() == ["6 series: recovered"]
    assert all(name in watch.bodies[0] for name in SIX)


def test_incident_joins_storm_before_report() -> None:
    watch = Watch()
    assert watch.look(*SIX[:2]) == []
    assert watch.look(*SIX) == ["6 series: trouble"]


def test_incident_begins_apart_after_report() -> None:
    watch = Watch()
    for _ in range(2):
        watch.look(*SIX)
    assert [watch.look(*SIX, "A-USD:1m"), watch.look(*SIX, "A-USD:1m")] == [
        [],
        ["A-USD:1m: trouble"],
    ]
    assert watch.look("A-USD:1m") == ["6 series: recovered"]
    assert watch.look() == ["A-USD:1m: recovered"]


def test_incident_message_ids_are_unique() -> None:
    watch, ids = Watch(), []
    for late in (["A-USD:1m"], ["A-USD:1m"], [], ["A-USD:1m"], ["A-USD:1m"], []):
        watch.look(*late)
        ids += watch.ids
    assert len(ids) == len(set(ids)) == 4


def test_incident_of_unwatched_series_is_not_called_recovered() -> None:
    watch = Watch("A-USD:1m")
    watch.look("A-USD:1m", urgent=["A-USD:1m"])
    watch.watched = ()
    assert watch.look() == ["A-USD:1m: no longer watched"]
    assert "well" not in watch.bodies[0]


def test_incident_storm_names_unwatched_series_apart() -> None:
    watch = Watch(*SIX)
    watch.look(*SIX, urgent=SIX)
    watch.watched = SIX[1:]
    assert watch.look() == ["6 series: recovered"]
    assert watch.bodies[0].splitlines()[:2] == [
        f"{', '.join(SIX[1:])}: all is well again.",
        f"{SIX[0]}: no longer watched.",
    ]


def test_incident_stored_without_kinds_is_read() -> None:
    stored = {
        "began": "2026-03-01T12:00:00Z",
        "series": ["A-USD:1m"],
        "open": {"A-USD:1m": LATE},
        "told": True,
    }
    problem = Problem("A-USD:1m", "", LATE[0])
    assert read_incident(stored) == Incident("2026-03-01T12:00:00Z", ["A-USD:1m"], [problem], True)
