"""Incidents: each is reported twice, when it begins and when it is over.

Pure: no Dagster, no I/O. Incidents can be stored as JSON.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from coinbase_assets.monitoring.destinations import Message

# If at least this many subjects have problems at the same time, they share one incident.
STORM = 5


@dataclass(frozen=True)
class Problem:
    """Something that is wrong now.

    `subject` names what it is wrong with: a series (`ETH-EUR:15m`), an asset (`products`) or
    `exchange`. `kind` names the sort of problem, for programs. `text` is a line for people. An
    `urgent` problem is reported when it is first seen.
    """

    subject: str
    kind: str
    text: str
    urgent: bool = False


@dataclass(frozen=True)
class Incident:
    """Subjects whose problems began together, and those of their problems that are still standing.

    An incident without urgent problems is reported only when it is seen for the second time, so
    that a short disturbance is not reported, and a storm that is still growing is one message.
    """

    began: str
    subjects: Sequence[str]
    standing: Sequence[Problem]
    reported: bool = False

    @property
    def id(self) -> str:
        return f"{self.began} {self.subjects[0]}"

    @property
    def standing_texts(self) -> Mapping[str, Sequence[str]]:
        """The texts of the standing problems, by subject."""
        texts = defaultdict[str, list[str]](list)
        for problem in self.standing:
            texts[problem.subject].append(problem.text)
        return texts


@dataclass(frozen=True)
class IncidentUpdate:
    """The incidents that are standing now, and the messages about those that began or ended."""

    incidents: Sequence[Incident] = ()
    messages: Sequence[Message] = field(default_factory=list)


def read_incident(stored: Mapping[str, Any]) -> Incident:
    """Returns the incident that was stored by `asdict`, or in the earlier form without kinds."""
    if "open" in stored:
        old = stored["open"]
        standing = [Problem(subject, "", text) for subject in old for text in old[subject]]
        return Incident(stored["began"], stored["series"], standing, stored["told"])
    standing = [Problem(**problem) for problem in stored["standing"]]
    return Incident(**{**stored, "standing": standing})


def update_incidents(
    before: Sequence[Incident],
    problems: Sequence[Problem],
    now: datetime,
    watched: Collection[str],
) -> IncidentUpdate:
    """Close, continue and begin incidents according to the problems that there are `now`.

    When one incident is due to be reported, all unreported ones are reported with it. A subject
    that is no longer `watched` is not reported as recovered.
    """
    continued = [_continued(incident, problems) for incident in before]
    over = [incident for incident in continued if not incident.standing and incident.reported]
    standing = [incident for incident in continued if incident.standing]
    known = {subject for incident in standing for subject in incident.subjects}
    new = [problem for problem in problems if problem.subject not in known]
    due = [incident for incident in standing if not incident.reported]
    reported = [incident for incident in standing if incident.reported]
    ended = [_end_message(incident, watched) for incident in over]
    if not due and not any(problem.urgent for problem in new):
        return IncidentUpdate([*reported, *_unreported(new, now)], ended)
    began = min([incident.began for incident in due], default=_time(now))
    begun = _begin([*(p for incident in due for p in incident.standing), *new], began)
    return IncidentUpdate([*reported, *begun], [*ended, *map(_begin_message, begun)])


def _continued(incident: Incident, problems: Sequence[Problem]) -> Incident:
    standing = [problem for problem in problems if problem.subject in incident.subjects]
    return Incident(incident.began, incident.subjects, standing, incident.reported)


def _unreported(problems: Sequence[Problem], now: datetime) -> list[Incident]:
    """Returns an unreported incident for each subject."""
    return [
        Incident(_time(now), [subject], standing)
        for subject, standing in _by_subject(problems).items()
    ]


def _begin(problems: Sequence[Problem], began: str) -> list[Incident]:
    """Returns an incident for each subject, or a single incident in a storm."""
    by_subject = dict(sorted(_by_subject(problems).items()))
    names = list(by_subject)
    groups = [names] if len(names) >= STORM else [[name] for name in names]
    return [
        Incident(began, group, [p for name in group for p in by_subject[name]], reported=True)
        for group in groups
    ]


def _by_subject(problems: Sequence[Problem]) -> Mapping[str, Sequence[Problem]]:
    grouped = defaultdict[str, list[Problem]](list)
    for problem in problems:
        grouped[problem.subject].append(problem)
    return grouped


def _begin_message(incident: Incident) -> Message:
    lines = [f"{problem.subject}: {problem.text}" for problem in incident.standing]
    return Message(f"{incident.id} begins", f"{_title(incident)}: trouble", "\n".join(lines))


def _end_message(incident: Incident, watched: Collection[str]) -> Message:
    recovered = [subject for subject in incident.subjects if subject in watched]
    unwatched = [subject for subject in incident.subjects if subject not in watched]
    lines = [f"{', '.join(recovered)}: all is well again."] if recovered else []
    if unwatched:
        lines.append(f"{', '.join(unwatched)}: no longer watched.")
    outcome = "recovered" if recovered else "no longer watched"
    return Message(
        f"{incident.id} ends",
        f"{_title(incident)}: {outcome}",
        "\n".join([*lines, f"The trouble began at {incident.began}."]),
    )


def _title(incident: Incident) -> str:
    number = len(incident.subjects)
    return incident.subjects[0] if number == 1 else f"{number} series"


def _time(now: datetime) -> str:
    return f"{now:%FT%TZ}"
