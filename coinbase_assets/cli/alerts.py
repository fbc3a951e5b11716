"""`coinbase-assets alerts`: the open incidents, and messages that test the delivery."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import click

from coinbase_assets.durations import in_words
from coinbase_assets.environment.secrets import public
from coinbase_assets.monitoring.delivery import deliver
from coinbase_assets.monitoring.destinations import Level, Message, parse_destinations
from coinbase_assets.monitoring.incidents import Change, Event, Incident, Problem
from coinbase_assets.monitoring.kinds import TROUBLE, Kind
from coinbase_assets.monitoring.messages import describe_change


def print_incidents(incidents: Sequence[Incident], now: datetime) -> None:
    """Print a line for each standing problem, and how long its incident has lasted."""
    for incident in incidents:
        lasted = in_words(now - datetime.fromisoformat(incident.began))
        for problem in incident.standing:
            line = f"{problem.subject}: {TROUBLE[problem.kind]} for {lasted}: {problem.text}"
            click.echo(public(line))
    if not incidents:
        click.echo("No open incidents.")


def send_test_messages(urls: str, web_url: str | None) -> bool:
    """Send a message of each kind to each of the comma-separated URLs, and print the results.

    Returns whether all messages were delivered. Raises ValueError for a URL apprise cannot use.
    """
    destinations = parse_destinations(urls)
    messages = list(_examples(web_url))
    outbox = {destination.key: messages for destination in destinations}
    failures = deliver(outbox, destinations, lambda *_: None)
    reasons = {failure.key: failure.cause for failure in failures}
    for destination in destinations:
        reason = reasons.get(destination.key)
        delivered = f"{len(messages)} messages delivered"
        outcome = delivered if reason is None else f"not delivered ({reason})"
        click.echo(public(f"{destination}: {outcome}"))
    return not reasons


def _examples(web_url: str | None) -> Iterator[Message]:
    """Yield a message about a made-up incident of each kind, and one about the end of one."""
    now = datetime.now(UTC)
    began = f"{now - timedelta(minutes=7):%FT%TZ}"
    for kind in Kind:
        level = Level.INFO if kind.is_news else Level.WARNING
        problem = Problem("TEST-USD:1m", kind, "this is a test", level)
        incident = Incident(began, kind, [problem.subject], [problem], level)
        yield describe_change(Change(Event.BEGINS, incident), now, web_url)
    yield describe_change(Change(Event.ENDS, incident), now, web_url)
