"""The commands `collect` and `heal`."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date
from functools import cache
from typing import TYPE_CHECKING

import click

from coinbase_assets.cli.head_start import asked_ahead
from coinbase_assets.cli.parameters import (
    DEFAULT_DAYS,
    DayParameter,
    days_to_collect,
    refuse_reversed,
)
from coinbase_assets.cli.selection import Selection, takes_series
from coinbase_assets.cli.wildcards import load_settings_with_products
from coinbase_assets.process_tuning import (
    share_free_memory,
    without_garbage_collection,
    without_pandas,
)
from coinbase_assets.settings import Settings, load_settings

if TYPE_CHECKING:
    from coinbase_assets.storage.parquet_store import ParquetStore


@click.command()
@takes_series
@click.option("--from", "first", type=DayParameter(), help="First day, UTC.")
@click.option("--to", "last", type=DayParameter(is_last=True), help="Last day. Default: today.")
@click.option(
    "--days",
    type=click.IntRange(1, 36_500),
    help=f"The last days and today, in place of --from. Default: {DEFAULT_DAYS}.",
)
@click.option("--again", is_flag=True, help="Also collect settled days again.")
@click.option("--dry-run", is_flag=True, help="Print the plan, and collect nothing.")
def collect(
    selection: Selection,
    first: date | None,
    last: date | None,
    days: int | None,
    again: bool,
    dry_run: bool,
) -> None:
    """Collect candles, and build the history of their months.

    SERIES is for example BTC-USD:1m, btc-usd:1m,1h or 'ETH-*:1h,5m'; by default, it is all of
    COINBASE_SERIES. Wildcards match the products that the exchange trades. DAY is 2024-01-31,
    2024-01, 2024, or -7d for 7 days ago. Skips settled (final) days that Dagster has recorded.
    After an interruption, just rerun.
    """
    settings = load_settings_with_products()
    keys = days_to_collect(settings.earliest, first, last, days)
    series = selection.series(settings.series, cache(lambda: _traded(settings)))
    with ExitStack() as opened:
        with without_garbage_collection():
            settings, store = opened.enter_context(_opened_lake(settings))
            if not dry_run:
                # Loading Dagster takes longer than all else before the first request.
                opened.enter_context(asked_ahead(settings, store, series, keys, again))
            from coinbase_assets.cli.collection import collect_series

        done = collect_series(settings, store, series, keys, again, dry_run)
    if not done:
        sys.exit(1)


@click.command()
@takes_series
@click.option(
    "--from", "first", type=DayParameter(), help="First day, UTC. Default: COINBASE_START."
)
@click.option(
    "--to", "last", type=DayParameter(is_last=True), help="Last day, UTC. Default: yesterday."
)
@click.option("--dry-run", is_flag=True, help="Print the days, and collect nothing.")
@click.option(
    "--trades", is_flag=True, help="Read all trades of the days with a gap; needs --from."
)
@click.option("--verify", is_flag=True, help="Read every file first, and find damaged ones.")
def heal(
    selection: Selection,
    first: date | None,
    last: date | None,
    dry_run: bool,
    trades: bool,
    verify: bool,
) -> None:
    """Collect the days that have unexplained gaps, and mend the lake.

    These are days with unconfirmed holes, and days that were not collected, or whose files are
    damaged. --trades finds what the exchange has lost in all its candles: of each day with a gap,
    it reads the trades.
    """
    settings = load_settings()
    refuse_reversed(first, last)
    if trades and not first:
        raise click.UsageError(
            "--trades reads many pages a day; name the days with --from and --to"
        )
    series = selection.among(settings.series, settings.other_series)
    with ExitStack() as opened:
        with without_garbage_collection():
            settings, store = opened.enter_context(_opened_lake(settings))
            from coinbase_assets.cli.collection import heal_series

        done = heal_series(settings, store, series, first, last, dry_run, trades, verify)
    if not done:
        sys.exit(1)


def _traded(settings: Settings) -> Sequence[str]:
    """Return the products that the exchange trades. Raises ExchangeError."""
    from coinbase_assets.cli.catalogue import known_products

    return known_products(settings).traded


@contextmanager
def _opened_lake(settings: Settings) -> Iterator[tuple[Settings, "ParquetStore"]]:
    """Open the lake; the settings then name its storage account."""
    # It loads Arrow.
    from coinbase_assets.lake.account import open_store, with_storage

    share_free_memory()
    without_pandas()
    with with_storage(settings) as settings, open_store(settings) as store:
        yield settings, store
