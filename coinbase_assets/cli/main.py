"""The command line, and the only place where errors become exit statuses."""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click

from coinbase_assets.cli.alert_commands import alerts
from coinbase_assets.cli.collecting import collect, heal
from coinbase_assets.cli.comparing import compare
from coinbase_assets.cli.console import console
from coinbase_assets.cli.entry import INTERRUPTED
from coinbase_assets.cli.logs import log_everything, prepare_logging
from coinbase_assets.cli.new_folder import init
from coinbase_assets.cli.reading import list_series, metrics, products, run_query, status, why
from coinbase_assets.cli.serving import azurite, dev
from coinbase_assets.cli.writing import export, plot
from coinbase_assets.dagster_instance.supported_dagster import UnsupportedDagster
from coinbase_assets.environment.secrets import public
from coinbase_assets.exchange.errors import ExchangeError
from coinbase_assets.lake.errors import InvalidRequest
from coinbase_assets.process_tuning import open_standard_streams, show_warnings
from coinbase_assets.settings import SettingsError
from coinbase_assets.storage.errors import StorageError

_PIPE_CLOSED = 128 + signal.SIGPIPE


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="coinbase-assets", message="%(prog)s %(version)s")
@click.option("-v", "--verbose", is_flag=True, help="Log every answer and every attempt.")
@click.option("-q", "--quiet", is_flag=True, help="Print errors, and data, but nothing else.")
def cli(verbose: bool, quiet: bool) -> None:
    """Complete Coinbase candle history in your own Azure storage."""
    console.quiet = quiet
    if verbose:
        log_everything()


for command in (
    init,
    products,
    collect,
    list_series,
    status,
    metrics,
    why,
    heal,
    compare,
    export,
    plot,
    run_query,
    dev,
    alerts,
    azurite,
):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line. An error becomes a message on standard error and an exit status."""
    open_standard_streams()
    show_warnings()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    prepare_logging()
    try:
        with _written_output():
            cli(arguments, prog_name="coinbase-assets", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(2)
    except click.ClickException as error:
        _fail(_with_remedy(error), error.exit_code)
    except (SettingsError, InvalidRequest) as error:
        _fail(str(error), 2)
    except BrokenPipeError:
        sys.exit(_PIPE_CLOSED)
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


def _with_remedy(error: click.ClickException) -> str:
    """Return the message; without a remedy, as in click's own messages, it names the help."""
    message = error.format_message()
    context = error.ctx if isinstance(error, click.UsageError) else None
    is_clicks_own = context or isinstance(error, click.BadOptionUsage)
    if not is_clicks_own or any(mark in message for mark in (";", "?", "write ", "Error: ")):
        return message
    command = context.command_path if context else "coinbase-assets COMMAND"
    return f"{message.rstrip('.')}; see {command} --help"


def _fail(message: str, status: int) -> None:
    click.echo(public(f"Error: {message}"), err=True)
    sys.exit(status)
