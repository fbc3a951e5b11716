"""The command line; the only place where errors become exit statuses."""

import logging
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import click

from coinbase_assets.exchange.errors import ExchangeError
from coinbase_assets.loading import loading
from coinbase_assets.proxies import bypass_proxies_on_this_machine
from coinbase_assets.series import CandleSeries, Series, parse_candle_series
from coinbase_assets.settings import Settings, SettingsError, load_settings
from coinbase_assets.storage.errors import StorageError

CLOSED_DAYS = 7
INTERRUPTED = 130
_PICTURES = (".png", ".svg", ".pdf")
_TABLES = (".parquet", ".csv", ".jsonl", ".feather")
_LOG_LEVELS = {
    "azure": logging.ERROR,
    "dagster": logging.ERROR,
    "matplotlib": logging.ERROR,
    "coinbase_assets.storage.azurite": logging.INFO,
}


class _SeriesParameter(click.ParamType):
    name = "PRODUCT:GRANULARITY"

    def __init__(self, parse: Callable[[str], CandleSeries] = Series.parse) -> None:
        self._parse = parse

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> CandleSeries:
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class _DayParameter(click.ParamType):
    name = "YYYY-MM-DD"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> date:
        try:
            return date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a day; write YYYY-MM-DD", param, ctx)


class _FileParameter(click.ParamType):
    """A file to be written, whose suffix says in which format."""

    name = "FILE"

    def __init__(self, *suffixes: str) -> None:
        self._suffixes = suffixes

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(value)
        if path.suffix.lower() not in self._suffixes:
            known = " or ".join(self._suffixes)
            self.fail(f"{value!r}: names no known format; end it with {known}", param, ctx)
        if not path.parent.is_dir():
            self.fail(f"{value!r}: there is no folder {str(path.parent)!r}; create it", param, ctx)
        return path


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Complete Coinbase candle history in your own Azure storage."""


@cli.command()
@click.option("--series", type=_SeriesParameter(), multiple=True, help="Default: all configured.")
@click.option("--from", "first", type=_DayParameter(), help="First day, UTC. Default: 7 days ago.")
@click.option("--to", "last", type=_DayParameter(), help="Last day, UTC. Default: today.")
@click.option("--again", is_flag=True, help="Ask again for days that are settled, too.")
def collect(series: Sequence[Series], first: date | None, last: date | None, again: bool) -> None:
    """Collect candles, and join them to their months' history.

    Days that are settled and recorded are skipped, so the same command goes on where it was ended.
    """
    settings = load_settings()
    days = _days(settings, first, last)
    with loading():
        from coinbase_assets.commands import collect_series

    if not collect_series(settings, series or settings.series, days, again):
        sys.exit(1)


@cli.command()
@click.option("--series", type=_SeriesParameter(), multiple=True, help="Default: all configured.")
@click.option("--from", "first", type=_DayParameter(), help="First day, UTC. Default: the first.")
@click.option("--to", "last", type=_DayParameter(), help="Last day, UTC. Default: yesterday.")
@click.option("--dry-run", is_flag=True, help="Only say what would be asked for.")
def heal(series: Sequence[Series], first: date | None, last: date | None, dry_run: bool) -> None:
    """Collect again the days with holes that are unconfirmed, or that were not collected."""
    settings = load_settings()
    if first and last and first > last:
        raise click.UsageError(f"--from {first}: after --to {last}; swap them")
    with loading():
        from coinbase_assets.commands import heal_series

    if not heal_series(settings, series or settings.series, first, last, dry_run):
        sys.exit(1)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="A JSON array, an object a series.")
def status(as_json: bool) -> None:
    """Show what is in the lake of every configured series, and what is not explained.

    The exit status is 1 when a series is not complete.
    """
    settings = load_settings()
    with loading():
        from coinbase_assets.commands import show_status

    if not show_status(settings, as_json):
        sys.exit(1)


@cli.command()
@click.option("--series", type=_SeriesParameter(), required=True)
@click.option("--from", "first", type=_DayParameter(), help="First day, UTC. Default: of 30.")
@click.option("--to", "last", type=_DayParameter(), help="Last day, UTC. Default: the newest.")
@click.option("--out", type=_FileParameter(*_PICTURES), help="Default: a PNG named after it.")
def plot(series: Series, first: date | None, last: date | None, out: Path | None) -> None:
    """Draw candles, their volume, and a calendar of how complete they are."""
    settings = load_settings()
    if first and last:
        _refuse_reversed(first, last)
    if last and last > (today := datetime.now(UTC).date()):
        raise click.UsageError(f"--to {last}: in the future; today is {today} (UTC)")
    with loading():
        from coinbase_assets.commands import plot_series

    plot_series(
        settings, series, first, last, out or Path(f"{series.product}_{series.granularity}.png")
    )


@cli.command()
@click.option("--series", type=_SeriesParameter(parse_candle_series), required=True)
@click.option("--from", "first", type=_DayParameter(), required=True, help="First day, UTC.")
@click.option("--to", "last", type=_DayParameter(), required=True, help="Last day, UTC.")
@click.option("--out", type=_FileParameter(*_TABLES), required=True, help="Its suffix: the format.")
def export(series: CandleSeries, first: date, last: date, out: Path) -> None:
    """Write candles to a file: Parquet, CSV, JSON lines or Feather."""
    _refuse_reversed(first, last)
    from coinbase_assets.export import write_candles
    from coinbase_assets.lake import Lake

    with Lake() as lake:
        end = last + timedelta(days=1)
        tables = lake.stream_candles(series.product, series.granularity, first, end)
        click.echo(f"{out}: {write_candles(out, tables)} candles")


@cli.command("query")
@click.argument("sql")
@click.option("--json", "style", flag_value="json", help="An object a line.")
@click.option("--csv", "style", flag_value="csv", help="Comma-separated values.")
def run_query(sql: str, style: str | None) -> None:
    """Answer a SELECT over what the lake holds.

    The tables: candle_history, candle_rollup, raw_candles, candle_coverage, candle_revisions.
    """
    from coinbase_assets.lake import Lake
    from coinbase_assets.query import QueryError, query

    try:
        with Lake() as lake:
            click.echo(query(lake, sql, style or "table"), nl=False)
    except QueryError as error:
        raise click.UsageError(str(error)) from None


@cli.group()
def alerts() -> None:
    """Tell people when data are late."""


@alerts.command("test")
def try_alerts() -> None:
    """Send a test message to every destination of COINBASE_ALERT_URLS.

    The exit status is 1 when one did not take it.
    """
    urls = load_settings().alert_urls
    if not urls:
        raise click.UsageError(
            "COINBASE_ALERT_URLS is not set; write such as mailto://USER:PASSWORD@HOST"
        )
    from coinbase_assets.notifications import Message, deliver, parse_urls

    destinations = parse_urls(urls.get_secret_value())
    message = Message("test", "A test of coinbase-assets", "Alerts of your candles arrive here.")
    outbox = {one.key: [message] for one in destinations}
    whys = {failure.key: failure.why for failure in deliver(outbox, destinations, lambda *_: None)}
    for one in destinations:
        failed = f"not delivered ({whys[one.key]})" if one.key in whys else ""
        click.echo(f"{one}: {failed or 'delivered'}")
    if whys:
        sys.exit(1)


@cli.command()
def azurite() -> None:
    """Run the embedded Azurite in the foreground, until Ctrl-C."""
    from coinbase_assets.embedded import run_azurite

    run_azurite()


@cli.command()
@click.option("--port", type=click.IntRange(1, 65535), default=3000, show_default=True)
def dev(port: int) -> None:
    """Run Dagster's web UI, schedules and sensors on 127.0.0.1, until Ctrl-C."""
    settings = load_settings()
    with loading():
        from coinbase_assets.dev import run_dev

    run_dev(settings, port)


def _days(settings: Settings, first: date | None, last: date | None) -> list[str]:
    """The partition keys from the first to the last day, both inclusive."""
    today = datetime.now(UTC).date()
    last = last or today
    first = first or max(settings.start, min(today - timedelta(days=CLOSED_DAYS), last))
    if last > today:
        raise click.UsageError(f"--to {last}: in the future; today is {today} (UTC)")
    if last < settings.start:
        raise click.UsageError(
            f"--to {last}: before COINBASE_START={settings.start}; set that to an earlier day"
        )
    _refuse_reversed(first, last)
    if first < settings.start:
        raise click.UsageError(
            f"--from {first}: before COINBASE_START={settings.start}; set that to an earlier day"
        )
    return [str(first + timedelta(days=day)) for day in range((last - first).days + 1)]


def _refuse_reversed(first: date, last: date) -> None:
    if first > last:
        raise click.UsageError(f"--from {first}: after --to {last}; swap them")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; an error is one line and an exit status."""
    bypass_proxies_on_this_machine()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    logging.basicConfig(format="%(message)s")
    for name, level in _LOG_LEVELS.items():
        logging.getLogger(name).setLevel(level)
    try:
        cli(arguments, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(2)
    except click.ClickException as error:
        _fail(error.format_message(), error.exit_code)
    except SettingsError as error:
        _fail(str(error), 2)
    except (ExchangeError, StorageError, OSError) as error:
        _fail(str(error), 1)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(INTERRUPTED)


def _fail(message: str, status: int) -> None:
    click.echo(f"Error: {message}", err=True)
    sys.exit(status)
