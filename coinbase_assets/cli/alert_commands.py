"""The commands `alerts list` and `alerts test`."""

import sys

import click

from coinbase_assets.process_tuning import without_garbage_collection
from coinbase_assets.settings import load_settings


@click.group()
def alerts() -> None:
    """List open incidents, or test the delivery of alerts."""


@alerts.command("list")
def list_alerts() -> None:
    """Print the problems that the alerts have found and that are not over.

    The services of `make dev` look for problems every half minute. The exit status is 1 if there
    are any.
    """
    settings = load_settings()
    with without_garbage_collection():
        from coinbase_assets.cli.reports import show_incidents

    if show_incidents(settings):
        sys.exit(1)


@alerts.command("test")
def try_alerts() -> None:
    """Send a message of each kind to each URL of COINBASE_ALERT_URLS.

    The exit status is 1 if a message was not delivered.
    """
    settings = load_settings()
    if not (urls := settings.alert_urls):
        raise click.UsageError(
            "COINBASE_ALERT_URLS is not set; set it to a URL, for example"
            " mailto://USER:PASSWORD@HOST"
        )
    from coinbase_assets.cli.alerts import send_test_messages

    if not send_test_messages(urls.get_secret_value(), settings.web_url):
        sys.exit(1)
