"""What people read about incidents: titles, causes, what helps, and links into the web UI. Pure."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from coinbase_assets.candles.calendar import at_minute
from coinbase_assets.durations import in_words
from coinbase_assets.monitoring.destinations import Level, Message
from coinbase_assets.monitoring.incidents import Change, Event, Incident
from coinbase_assets.monitoring.kinds import RECOVERY, TROUBLE


def describe_change(change: Change, now: datetime, web_url: str | None) -> Message:
    """Return the message about an incident that begins, worsens or ends `now`.

    Links are below `web_url`; without it there are none.
    """
    identity = f"{change.incident.id} {change.event} {now:%FT%TZ}"
    if change.event == Event.ENDS:
        return _end_message(identity, change, now)
    return _trouble_message(identity, change, web_url)


def _trouble_message(identity: str, change: Change, web_url: str | None) -> Message:
    incident = change.incident
    assert incident.severity
    worse = " (worse)" if change.event == Event.WORSENS else ""
    lines = [f"{problem.subject}: {problem.text}" for problem in incident.standing]
    lines += _causes(incident)
    if not incident.kind.is_news:
        lines.append(f"Since {at_minute(datetime.fromisoformat(incident.began))}.")
    lines += _help(incident, web_url)
    title = f"{_subjects(incident.subjects)}: {TROUBLE[incident.kind]}{worse}"
    return Message(identity, title, "\n".join(lines), incident.severity)


def _causes(incident: Incident) -> Iterator[str]:
    """Yield a line for each distinct cause."""
    for cause in dict.fromkeys(problem.cause for problem in incident.standing):
        if cause:
            yield f"Cause: {cause}"


def _help(incident: Incident, web_url: str | None) -> Iterator[str]:
    """Yield what helps, and the page of a single problem."""
    alone = len(incident.standing) == 1
    remedies = dict.fromkeys(problem.remedy for problem in incident.standing)
    if alone or len(remedies) == 1:
        yield from (f"What helps: {remedy}" for remedy in remedies if remedy)
    else:
        yield "What helps: coinbase-assets status shows each of them."
    if web_url:
        yield f"{web_url}{incident.standing[0].page}" if alone else web_url


def _end_message(identity: str, change: Change, now: datetime) -> Message:
    incident, unwatched = change.incident, change.unwatched
    recovered = [subject for subject in incident.subjects if subject not in unwatched]
    lines = []
    if recovered:
        lines.append(f"{', '.join(recovered)}: {RECOVERY[incident.kind]}.")
    if unwatched:
        lines.append(f"{', '.join(unwatched)}: no longer watched.")
    began = datetime.fromisoformat(incident.began)
    lines.append(f"It lasted {in_words(now - began)}, from {at_minute(began)} on.")
    outcome = RECOVERY[incident.kind] if recovered else "no longer watched"
    level = Level.SUCCESS if recovered else Level.INFO
    title = f"{_subjects(incident.subjects)}: {outcome}"
    return Message(identity, title, "\n".join(lines), level)


def _subjects(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} series"
