"""Incidents: what began together, of one kind, is reported when it begins, worsens and ends.

Pure: no Dagster, no I/O. Incidents can be stored as JSON.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from coinbase_assets.monitoring.destinations import Level
from coinbase_assets.monitoring.kinds import Kind

# If at least this many subjects have the same kind of problem, they share one incident.
STORM = 5
# An incident that has grown this many times is reported once more.
_GROWTH = 10


@dataclass(frozen=True)
class Problem:
    """Something that is wrong now. There is at most one problem of a kind with a subject.

    `subject` names what it is wrong with: a series (`ETH-EUR:15m`) or an asset (`products`). `text`
    is a line for people. `size` counts what is wrong, for example holes. `page` is a path in the
    web UI, `remedy` a line that says what helps, `cause` why it happened; each may be empty. An
    `urgent` problem is reported when it is first seen.
    """

    subject: str
    kind: Kind
    text: str
    severity: Level = Level.FAILURE
    size: int = 1
    urgent: bool = False
    cause: str = ""
    page: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class Incident:
    """Subjects with one kind of problem that began together, and the problems still standing.

    `began` is in ISO 8601. `severity` and `size` are those of the last report; `severity` is None
    before the first. An incident without urgent problems is reported only when it is seen for the
    second time, so that a short disturbance is not reported, and a growing storm is one message.
    """

    began: str
    kind: Kind
    subjects: Sequence[str]
    standing: Sequence[Problem]
    severity: Level | None = None
    size: int = 0

    @property
    def id(self) -> str:
        """Unique among the incidents of all times."""
        return f"{self.began} {self.kind} {self.subjects[0]}"


class Event(StrEnum):
    """What happened to an incident."""

    BEGINS = "begins"
    WORSENS = "worsens"
    ENDS = "ends"


@dataclass(frozen=True)
class Change:
    """An incident that has to be reported. `unwatched` are the subjects nobody looks at now."""

    event: Event
    incident: Incident
    unwatched: Sequence[str] = ()


@dataclass(frozen=True)
class IncidentUpdate:
    """The incidents after an evaluation, and what has to be reported."""

    incidents: Sequence[Incident]
    changes: Sequence[Change]


def update_incidents(
    before: Sequence[Incident],
    problems: Sequence[Problem],
    now: datetime,
    watched: Collection[str],
    held: Collection[Kind] = (),
) -> IncidentUpdate:
    """Close, continue and begin incidents according to the problems that there are `now`.

    When one incident is due to be reported, all unreported ones of its kind are reported with it.
    A subject that is no longer `watched` is not reported as recovered. No incident of the `held`
    kinds begins now.
    """
    continued = [_continued(incident, problems) for incident in before]
    over = [each for each in continued if not each.standing and each.severity]
    reported = [each for each in continued if each.standing and each.severity]
    due = [each for each in continued if each.standing and not each.severity]
    known = {(name, each.kind) for each in continued for name in each.subjects if each.standing}
    new = [p for p in problems if (p.subject, p.kind) not in known and p.kind not in held]
    changes = [change for change in (_end(each, watched) for each in over) if not _is_idle(change)]
    kept = list[Incident]()
    for incident in reported:
        current = _as_reported(incident)
        worse = _is_worse(incident)
        kept.append(current if worse else incident)
        changes += [Change(Event.WORSENS, current)] if worse else []
    for kind in Kind:
        begun = _begin(kind, [i for i in due if i.kind == kind], _of(kind, new), now)
        kept += begun
        changes += [Change(Event.BEGINS, incident) for incident in begun if incident.severity]
    return IncidentUpdate(kept, changes)


def _continued(incident: Incident, problems: Sequence[Problem]) -> Incident:
    standing = [p for p in _of(incident.kind, problems) if p.subject in incident.subjects]
    return replace(incident, standing=standing)


def _of(kind: Kind, problems: Sequence[Problem]) -> list[Problem]:
    return [problem for problem in problems if problem.kind == kind]


def _begin(
    kind: Kind, due: Sequence[Incident], new: Sequence[Problem], now: datetime
) -> list[Incident]:
    """Returns the incidents of a kind that are not reported yet, or are to be reported now."""
    if not due and not any(problem.urgent for problem in new):
        return [Incident(_time(now), kind, [problem.subject], [problem]) for problem in new]
    began = min([incident.began for incident in due], default=_time(now))
    problems = sorted(
        [*(p for incident in due for p in incident.standing), *new], key=lambda p: p.subject
    )
    groups = [problems] if len(problems) >= STORM else [[problem] for problem in problems]
    return [_as_reported(Incident(began, kind, [p.subject for p in g], g)) for g in groups]


def _as_reported(incident: Incident) -> Incident:
    return replace(incident, severity=_level(incident), size=_size(incident))


def _level(incident: Incident) -> Level:
    return max(problem.severity for problem in incident.standing)


def _is_worse(incident: Incident) -> bool:
    has_grown = _size(incident) >= _GROWTH * max(1, incident.size)
    return has_grown or (incident.severity is not None and _level(incident) > incident.severity)


def _size(incident: Incident) -> int:
    return sum(problem.size for problem in incident.standing)


def _end(incident: Incident, watched: Collection[str]) -> Change:
    unwatched = [subject for subject in incident.subjects if subject not in watched]
    return Change(Event.ENDS, incident, unwatched)


def _time(now: datetime) -> str:
    return f"{now:%FT%TZ}"


def _is_idle(change: Change) -> bool:
    """Whether it is only that news is no longer news of anybody."""
    is_gone = len(change.unwatched) == len(change.incident.subjects)
    return change.incident.kind.is_news and is_gone
