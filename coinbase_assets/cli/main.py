"""The command line, and the only place where errors become exit statuses."""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date, datetime, timedelta
from pathlib import Path

import click

from coinbase_assets.candles.series import CandleSeries, Series, parse_candle_series
from coinbase_assets.cli.alert_commands import alerts
from coinbase_assets.cli.compare_command import compare
from coinbase_assets.cli.entry import INTERRUPTED
from coinbase_assets.cli.logs import prepare_logging
from coinbase_assets.cli.parameters import (
    FOLDED,
    DayParameter,
    FileParameter,
    SeriesParameter,
    TimeParameter,
    days_to_collect,
    export_suffixes,
    folded_seconds,
    picture_suffixes,
    refuse_future,
    refuse_reversed,
)
from coinbase_assets.dagster_instance.supported_dagster import UnsupportedDagster
from coinbase_assets.environment.secrets import public
from coinbase_assets.exchange.errors import ExchangeError
from coinbase_assets.plain_text import shown
from coinbase_assets.process_tuning import (
    open_standard_streams,
    show_warnings,
    without_garbage_collection,
)
from coinbase_assets.settings import SettingsError, load_settings
from coinbase_assets.storage.errors import StorageError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Complete Coinbase candle history in your own Azure storage."""


@cli.command()
@click.option("--series", type=SeriesParameter(), multiple=True, help="Default: all configured.")
@click.option("--from", "first", type=DayParameter(), help="First day, UTC. Default: 7 days ago.")
@click.option("--to", "last", type=DayParameter(), help="Last day, UTC. Default: today.")
@click.option("--again", is_flag=True, help="Also collect settled days again.")
def collect(series: Sequence[Series], first: date | None, last: date | None, again: bool) -> None:
    """Collect candles, and build the history of their months.

    Skips settled (final) days that Dagster has recorded. After an interruption, just rerun.
    """
    settings = load_settings()
    days = days_to_collect(settings.earliest, first, last)
    with without_garbage_collection():
        from coinbase_assets.cli.commands import collect_series

    if not collect_series(settings, series or settings.series, days, again):
        sys.exit(1)


@cli.command()
@click.option("--series", type=SeriesParameter(), multiple=True, help="Default: all configured.")
@click.option(
    "--from", "first", type=DayParameter(), help="First day, UTC. Default: COINBASE_START."
)
@click.option("--to", "last", type=DayParameter(), help="Last day, UTC. Default: yesterday.")
@click.option("--dry-run", is_flag=True, help="Print the days, and collect nothing.")
@click.option(
    "--trades", is_flag=True, help="Read all trades of the days with a gap; needs --from."
)
@click.option("--verify", is_flag=True, help="Read every file first, and find damaged ones.")
def heal(
    series: Sequence[Series],
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
    with without_garbage_collection():
        from coinbase_assets.cli.commands import heal_series

    if not heal_series(settings, series or settings.series, first, last, dry_run, trades, verify):
        sys.exit(1)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array, an object per series.")
def status(as_json: bool) -> None:
    """Show what the lake holds, and any unexplained gaps.

    There is a line for each configured series. The exit status is 1 if a series is not complete or
    is stale.
    """
    settings = load_settings()
    with without_garbage_collection():
        from coinbase_assets.cli.commands import show_status

    if not show_status(settings, as_json):
        sys.exit(1)


@cli.command()
@click.argument("series", type=SeriesParameter())
@click.argument("time", type=TimeParameter())
def why(series: Series, time: datetime) -> None:
    """Say why there is no candle at a time.

    TIME is in UTC, for example 2024-01-31T12:00. The answer names the state in the ledger, the
    witness and when it was asked, and what would settle the question.
    """
    from coinbase_assets.lake.reader import Lake

    with Lake() as lake:
        click.echo(shown(lake.why(series.product, series.granularity, time)))


@cli.command()
@click.option("--series", type=SeriesParameter(), required=True, help="For example ETH-EUR:15m.")
@click.option(
    "--from", "first", type=DayParameter(), help="First day, UTC. Default: 29 days before --to."
)
@click.option("--to", "last", type=DayParameter(), help="Last day, UTC. Default: newest candle.")
@click.option(
    "--candles", type=click.Choice(list(FOLDED)), help="Length of those drawn. Default: what fits."
)
@click.option(
    "--out",
    type=FileParameter(picture_suffixes),
    help="A .png, .svg or .pdf file. Default: PRODUCT_GRANULARITY.png",
)
def plot(
    series: Series, first: date | None, last: date | None, candles: str | None, out: Path | None
) -> None:
    """Draw candles, their volume, and a calendar of gaps."""
    settings = load_settings()
    step = folded_seconds(series, candles) if candles else None
    refuse_reversed(first, last)
    refuse_future(last)
    with without_garbage_collection():
        from coinbase_assets.cli.commands import plot_series

    file = out or Path(f"{series.product}_{series.granularity}.png")
    plot_series(settings, series, first, last, file, step)


@cli.command()
@click.option(
    "--series",
    type=SeriesParameter(parse_candle_series),
    required=True,
    help="Collected candles or a rollup, for example ETH-EUR:4h.",
)
@click.option("--from", "first", type=DayParameter(), required=True, help="First day, UTC.")
@click.option("--to", "last", type=DayParameter(), required=True, help="Last day, UTC.")
@click.option(
    "--out",
    type=FileParameter(export_suffixes),
    required=True,
    help="A file whose suffix names the format: .parquet, .csv, .jsonl or .feather.",
)
def export(series: CandleSeries, first: date, last: date, out: Path) -> None:
    """Write candles to a file: Parquet, CSV, JSON lines or Feather."""
    refuse_reversed(first, last)
    from coinbase_assets.lake.export import write_candles
    from coinbase_assets.lake.reader import Lake

    with Lake() as lake:
        end = last + timedelta(days=1)
        tables = lake.stream_candles(series.product, series.granularity, first, end)
        click.echo(public(f"{out}: {write_candles(out, tables)} candles"))


# A statement may begin with a comment, which looks like an option.
@cli.command("query", context_settings={"ignore_unknown_options": True})
@click.argument("sql")
@click.option("--json", "style", flag_value="json", help="Print a JSON object per line.")
@click.option("--csv", "style", flag_value="csv", help="Print comma-separated values.")
@click.option("--allow-files", is_flag=True, help="Let the statement read local files, too.")
def run_query(sql: str, style: str | None, allow_files: bool) -> None:
    """Run a SELECT on the tables of the lake.

    The tables: candle_history, candle_rollup, raw_candles, candle_coverage, candle_revisions,
    market_halts, listings, products.
    """
    from coinbase_assets.lake.reader import Lake
    from coinbase_assets.lake.sql import QueryError, query

    if style == "csv" and sys.stdout and sys.stdout.isatty():
        style = "csv of shown text"
    try:
        with Lake() as lake:
            click.echo(query(lake, sql, style or "table", allow_files).encode(), nl=False)
    except QueryError as error:
        raise click.UsageError(str(error)) from None


@cli.command()
def azurite() -> None:
    """Run Azurite, the Azure storage emulator, until Ctrl-C."""
    from coinbase_assets.lake.account import run_azurite

    run_azurite()


@cli.command()
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
    settings = load_settings()
    with without_garbage_collection():
        from coinbase_assets.cli.dev import run_dev

    # Ctrl-C is how it ends; `make` would report another status as an error.
    with suppress(KeyboardInterrupt):
        run_dev(settings, port)


cli.add_command(alerts)
cli.add_command(compare)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line. An error becomes a message on standard error and an exit status."""
    open_standard_streams()
    show_warnings()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    prepare_logging()
    try:
        with _written_output():
            cli(arguments, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(2)
    except click.ClickException as error:
        _fail(error.format_message(), error.exit_code)
    except SettingsError as error:
        _fail(str(error), 2)
    except (ExchangeError, StorageError, UnsupportedDagster, OSError) as error:
        _fail(str(error), 1)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(INTERRUPTED)


@contextmanager
def _written_output() -> Iterator[None]:
    """Write what is printed by the end of the block; later, a failure would be a traceback."""
    try:
        yield
        if sys.stdout:
            sys.stdout.flush()
    except OSError:
        _discard_output()
        raise


def _discard_output() -> None:
    """Let what cannot be written go nowhere, so that no second failure follows."""
    try:
        if sys.stdout:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, status: int) -> None:
    click.echo(public(f"Error: {message}"), err=True)
    sys.exit(status)
