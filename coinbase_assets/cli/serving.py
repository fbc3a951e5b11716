"""The commands that run until Ctrl-C: `dev` and `azurite`."""

from contextlib import suppress

import click

from coinbase_assets.cli.wildcards import load_settings_with_products
from coinbase_assets.process_tuning import without_garbage_collection


@click.command()
def azurite() -> None:
    """Run Azurite, the Azure storage emulator, until Ctrl-C."""
    from coinbase_assets.lake.account import run_azurite

    run_azurite()


@click.command()
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=3000,
    show_default=True,
    help="Port of the web UI.",
)
def dev(port: int) -> None:
    """Run Dagster's web UI, schedules and sensors, until Ctrl-C.

    The web UI is at http://127.0.0.1:PORT.
    """
    settings = load_settings_with_products()
    with without_garbage_collection():
        from coinbase_assets.cli.dev import run_dev

    # Ctrl-C is how it ends; `make` would report another status as an error.
    with suppress(KeyboardInterrupt):
        run_dev(settings, port)
