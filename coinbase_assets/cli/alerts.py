"""`coinbase-assets alerts test`: one message to each alert URL, and whether it was delivered."""

import click

from coinbase_assets.environment.secrets import public
from coinbase_assets.monitoring.delivery import deliver
from coinbase_assets.monitoring.destinations import Message, parse_destinations


def send_test_message(urls: str) -> bool:
    """Send a test message to each of the comma-separated URLs, and print the results.

    Returns whether all messages were delivered. Raises ValueError for a URL apprise cannot use.
    """
    destinations = parse_destinations(urls)
    message = Message("test", "A test of coinbase-assets", "Alerts of your candles arrive here.")
    outbox = {destination.key: [message] for destination in destinations}
    failures = deliver(outbox, destinations, lambda *_: None)
    reasons = {failure.key: failure.cause for failure in failures}
    for destination in destinations:
        reason = reasons.get(destination.key)
        outcome = "delivered" if reason is None else f"not delivered ({reason})"
        click.echo(public(f"{destination}: {outcome}"))
    return not reasons
