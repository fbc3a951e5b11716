"""Incidents: one message when one begins, one when it is over."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from coinbase_assets.monitoring.incidents import Incident, update_incidents

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATE = ["answers_are_recent: late"]
SIX = [f"COIN{n}-USD:1m" for n in range(6)]


class Watch:
    """Evaluations half a minute apart; the state goes through JSON, as it is stored."""

    def __init__(self) -> None:
        self.now = START
        self.incidents: Sequence[Incident] = ()

    def look(self, *late: str, urgent: Sequence[str] = ()) -> list[str]:
        return self.look_at(dict.fromkeys(late, LATE), urgent)

    def look_at(
        self, problems: Mapping[str, Sequence[str]], urgent: Sequence[str] = ()
    ) -> list[str]:
        self.now += timedelta(seconds=30)
        change = update_incidents(self.incidents, problems, self.now, urgent)
        stored = json.loads(json.dumps([asdict(one) for one in change.incidents]))
        self.incidents = [Incident(**one) for one in stored]
        self.bodies = [message.body for message in change.messages]
        self.ids = [message.id for message in change.messages]
        return [message.title for message in change.messages]


def test_an_incident_is_told_when_it_begins_and_when_it_is_over_and_never_between() -> None:
    watch = Watch()
    told = [watch.look(*late) for late in ([], ["A-USD:1m"], *[["A-USD:1m"]] * 5, [], [])]
    assert told == [[], [], ["A-USD:1m: trouble"], [], [], [], [], ["A-USD:1m: recovered"], []]


def test_a_hitch_seen_once_is_not_told() -> None:
    watch = Watch()
    assert [watch.look("A-USD:1m"), watch.look(), watch.look()] == [[], [], []]


def test_a_failed_run_is_told_at_once() -> None:
    assert Watch().look("A-USD:1m", urgent=["A-USD:1m"]) == ["A-USD:1m: trouble"]


def test_all_causes_of_a_series_are_one_incident() -> None:
    watch = Watch()
    watch.look_at({"A-USD:1m": ["stale"]})
    assert watch.look_at({"A-USD:1m": ["stale", "late"]}) == ["A-USD:1m: trouble"]
    assert watch.bodies == ["A-USD:1m: stale\nA-USD:1m: late"]
    assert watch.look_at({"A-USD:1m": ["a run failed"]}) == []
    assert watch.look_at({"A-USD:1m": ["late"]}, urgent=["A-USD:1m"]) == []
    assert watch.look_at({}) == ["A-USD:1m: recovered"]


def test_fewer_than_five_series_are_told_one_by_one() -> None:
    watch = Watch()
    watch.look(*SIX[:4])
    assert watch.look(*SIX[:4]) == [f"{name}: trouble" for name in SIX[:4]]
    assert watch.look(SIX[0]) == [f"{name}: recovered" for name in SIX[1:4]]


def test_a_storm_is_one_message_that_names_all_and_one_when_all_are_well_again() -> None:
    watch = Watch()
    watch.look(*SIX)
    assert watch.look(*SIX) == ["6 series: trouble"]
    assert all(name in watch.bodies[0] for name in SIX)
    assert [watch.look(*SIX[:3]), watch.look(*SIX[:1]), watch.look(*SIX[:2])] == [[], [], []]
    assert watch.look() == ["6 series: recovered"]
    assert all(name in watch.bodies[0] for name in SIX)


def test_series_that_follow_before_it_is_told_join_the_storm() -> None:
    watch = Watch()
    assert watch.look(*SIX[:2]) == []
    assert watch.look(*SIX) == ["6 series: trouble"]


def test_a_series_that_follows_later_is_an_incident_of_its_own() -> None:
    watch = Watch()
    for _ in range(2):
        watch.look(*SIX)
    assert [watch.look(*SIX, "A-USD:1m"), watch.look(*SIX, "A-USD:1m")] == [
        [],
        ["A-USD:1m: trouble"],
    ]
    assert watch.look("A-USD:1m") == ["6 series: recovered"]
    assert watch.look() == ["A-USD:1m: recovered"]


def test_each_message_has_an_id_of_its_own() -> None:
    watch, ids = Watch(), []
    for late in (["A-USD:1m"], ["A-USD:1m"], [], ["A-USD:1m"], ["A-USD:1m"], []):
        watch.look(*late)
        ids += watch.ids
    assert len(ids) == len(set(ids)) == 4
