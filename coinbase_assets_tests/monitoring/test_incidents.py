"""An incident is reported when it begins, when it gets worse, and when it is over."""

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from coinbase_assets.monitoring.destinations import Level
from coinbase_assets.monitoring.incidents import (
    Event,
    Incident,
    Problem,
    update_incidents,
)
from coinbase_assets.monitoring.kinds import Kind
from coinbase_assets.monitoring.stored_incidents import read_incidents

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
A = "A-USD:1m"
SIX = [f"COIN{n}-USD:1m" for n in range(6)]
FAILED = Problem(A, Kind.RUN_FAILED, "run 1 failed", urgent=True)


def late(name: str = A, level: Level = Level.WARNING) -> Problem:
    return Problem(name, Kind.STALE, "late", level)


def holes(count: int) -> Problem:
    return Problem(A, Kind.INCOMPLETE, f"{count} holes", Level.WARNING, count)


class Watch:
    """Evaluations half a minute apart. The incidents go through JSON, as they are stored."""

    def __init__(self, *watched: str) -> None:
        self.watched: Sequence[str] = watched or (*SIX, A)
        self.now = START
        self.incidents: Sequence[Incident] = ()
        self.held: Collection[Kind] = ()
        self.ids: list[str] = []

    def look(self, *problems: Problem) -> list[str]:
        """Return what is reported: the event, the kind, and the subject or how many there are."""
        self.now += timedelta(seconds=30)
        update = update_incidents(self.incidents, problems, self.now, self.watched, self.held)
        stored = json.loads(json.dumps([asdict(incident) for incident in update.incidents]))
        self.incidents = read_incidents(stored)
        assert self.incidents == update.incidents
        self.changes = update.changes
        self.ids += [f"{change.incident.id} {change.event}" for change in update.changes]
        return [
            f"{change.event} {change.incident.kind} {_subjects(change.incident.subjects)}"
            for change in update.changes
        ]

    def twice(self, *problems: Problem) -> list[str]:
        return [*self.look(*problems), *self.look(*problems)]


def _subjects(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else str(len(names))


def lates(names: Sequence[str]) -> list[Problem]:
    return [late(name) for name in names]


def test_incident_reported_at_begin_and_end_only() -> None:
    watch = Watch()
    reports = [watch.look(*problems) for problems in ([], *[[late()]] * 6, [], [])]
    assert reports == [[], [], [f"begins stale {A}"], [], [], [], [], [f"ends stale {A}"], []]


def test_incident_seen_once_is_not_reported() -> None:
    watch = Watch()
    assert [watch.look(late()), watch.look(), watch.look()] == [[], [], []]


def test_incident_urgent_is_reported_at_once() -> None:
    assert Watch().look(FAILED) == [f"begins run_failed {A}"]


def test_incident_of_each_kind_begins_and_ends() -> None:
    watch = Watch()
    assert watch.twice(holes(3)) == [f"begins incomplete {A}"]
    assert watch.twice(holes(3), late()) == [f"begins stale {A}"]
    assert watch.look(holes(3), late(), FAILED) == [f"begins run_failed {A}"]
    assert watch.look(holes(3), FAILED) == [f"ends stale {A}"]
    assert watch.look(holes(3)) == [f"ends run_failed {A}"]
    assert watch.look() == [f"ends incomplete {A}"]


def test_incident_that_gets_worse_is_reported_once_more() -> None:
    watch = Watch()
    watch.twice(late())
    assert watch.twice(late(level=Level.FAILURE)) == [f"worsens stale {A}"]
    assert watch.twice(late()) == watch.twice(late(level=Level.FAILURE)) == []
    assert watch.look() == [f"ends stale {A}"]


def test_incident_that_grows_tenfold_is_reported_once_more() -> None:
    watch = Watch()
    watch.twice(holes(3))
    assert watch.twice(holes(29)) == []
    assert watch.twice(holes(300)) == [f"worsens incomplete {A}"]
    assert watch.twice(holes(301)) == []


def test_incident_per_series_below_storm() -> None:
    watch = Watch()
    assert watch.twice(*lates(SIX[:4])) == [f"begins stale {name}" for name in SIX[:4]]
    assert watch.look(late(SIX[0])) == [f"ends stale {name}" for name in SIX[1:4]]


def test_incident_storm_is_one_message_at_each_end() -> None:
    watch = Watch()
    assert watch.twice(*lates(SIX)) == ["begins stale 6"]
    assert watch.changes[0].incident.subjects == SIX
    for few in (SIX[:3], SIX[:1], SIX[:2]):
        assert watch.look(*lates(few)) == []
    assert watch.look() == ["ends stale 6"]


def test_incident_storm_has_problems_of_one_kind() -> None:
    watch = Watch()
    assert watch.twice(*lates(SIX), holes(3)) == ["begins stale 6", f"begins incomplete {A}"]


def test_incident_joins_storm_before_report() -> None:
    watch = Watch()
    assert watch.look(*lates(SIX[:2])) == []
    assert watch.look(*lates(SIX)) == ["begins stale 6"]


def test_incident_begins_apart_after_report() -> None:
    watch = Watch()
    watch.twice(*lates(SIX))
    assert watch.twice(*lates(SIX), late()) == [f"begins stale {A}"]
    assert watch.look(late()) == ["ends stale 6"]
    assert watch.look() == [f"ends stale {A}"]


def test_incident_ids_are_unique() -> None:
    watch = Watch()
    for problems in ([late()], [late()], [], [late(), holes(1)], [late(), holes(1)], []):
        watch.look(*problems)
    assert len(watch.ids) == len(set(watch.ids)) == 6


def test_incident_of_held_kind_goes_on_but_does_not_begin() -> None:
    watch = Watch()
    watch.held = {Kind.STALE}
    assert watch.twice(late()) == []
    watch.held = ()
    assert watch.twice(late()) == [f"begins stale {A}"]
    watch.held = {Kind.STALE}
    assert [watch.look(late()), watch.look()] == [[], [f"ends stale {A}"]]


def test_incident_names_subjects_that_are_no_longer_watched() -> None:
    watch = Watch(*SIX)
    watch.twice(*lates(SIX))
    watch.watched = SIX[1:]
    watch.look()
    (change,) = watch.changes
    assert (change.event, change.unwatched) == (Event.ENDS, [SIX[0]])


def test_news_of_unwatched_series_ends_silently() -> None:
    watch = Watch(A)
    news = Problem(A, Kind.DELISTED, "no new candles", Level.INFO)
    assert watch.twice(news) == [f"begins delisted {A}"]
    watch.watched = ()
    assert watch.look() == []
    assert watch.incidents == []
