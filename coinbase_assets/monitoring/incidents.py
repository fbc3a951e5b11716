"""Incidents: what is wrong with series, told once when it begins and once when it is over.

Pure: no Dagster, no I/O. Its state is plain JSON.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from coinbase_assets.monitoring.destinations import Message

# So many series that begin together are one incident.
STORM = 5

# Of each series what is wrong with it.
Problems = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Incident:
    """Series that went wrong together; `open` are those that still are, with their problems.

    It is told when it is seen for the second time, unless it is urgent, so that neither a hitch
    nor each part of a storm that is just breaking makes a message of its own.
    """

    began: str
    series: Sequence[str]
    open: Problems
    told: bool = False

    @property
    def id(self) -> str:
        return f"{self.began} {self.series[0]}"


@dataclass(frozen=True)
class Change:
    """The incidents there are now, and what to tell of what changed."""

    incidents: Sequence[Incident] = ()
    messages: Sequence[Message] = field(default_factory=list)


def update_incidents(
    before: Sequence[Incident], problems: Problems, now: datetime, urgent: Collection[str] = ()
) -> Change:
    """Close, keep, and begin incidents according to the problems there are now.

    Those of series that are `urgent` are told at once, and all others with them.
    """
    kept = [
        Incident(
            one.began,
            one.series,
            {name: problems[name] for name in one.series if name in problems},
            one.told,
        )
        for one in before
    ]
    over = [one for one in kept if not one.open and one.told]
    going_on = [one for one in kept if one.open]
    known = {name for one in going_on for name in one.series}
    new = {name: problems[name] for name in problems if name not in known}
    due = [one for one in going_on if not one.told]
    told = [one for one in going_on if one.told]
    if not due and not any(name in urgent for name in new):
        return Change([*told, *_pending(new, now)], _ends(over, now))
    began = min([one.began for one in due], default=f"{now:%FT%TZ}")
    begun = _begin({**_joined(due), **new}, began)
    return Change([*told, *begun], [*_ends(over, now), *map(_begins, begun)])


def _pending(new: Problems, now: datetime) -> list[Incident]:
    began = f"{now:%FT%TZ}"
    return [Incident(began, [name], {name: what}) for name, what in new.items()]


def _joined(incidents: Sequence[Incident]) -> dict[str, Sequence[str]]:
    return {name: what for one in incidents for name, what in one.open.items()}


def _begin(problems: Problems, began: str) -> list[Incident]:
    """One incident a series, or one for all of a storm."""
    names = sorted(problems)
    groups = [names] if len(names) >= STORM else [[name] for name in names]
    return [
        Incident(began, group, {name: problems[name] for name in group}, told=True)
        for group in groups
    ]


def _begins(incident: Incident) -> Message:
    lines = [f"{name}: {what}" for name in incident.series for what in incident.open[name]]
    return Message(f"{incident.id} begins", f"{_names(incident)}: trouble", "\n".join(lines))


def _ends(incidents: Sequence[Incident], now: datetime) -> list[Message]:
    return [
        Message(
            f"{one.id} ends",
            f"{_names(one)}: recovered",
            f"{', '.join(one.series)}: all is well again; it began at {one.began}.",
        )
        for one in incidents
    ]


def _names(incident: Incident) -> str:
    number = len(incident.series)
    return incident.series[0] if number == 1 else f"{number} series"
