"""The commands that show what there is: `products`, `list`, `status`, `metrics`, `why`, `query`."""

import sys
from datetime import datetime

import click

from coinbase_assets.candles.series import Series
from coinbase_assets.cli.parameters import SeriesParameter, TimeParameter
from coinbase_assets.cli.selection import Selection, takes_series
from coinbase_assets.plain_text import shown
from coinbase_assets.process_tuning import without_garbage_collection
from coinbase_assets.settings import load_settings

_AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print a JSON array of objects.")


@click.command()
@click.argument("text", default="")
@click.option("--quote", type=str.upper, metavar="CURRENCY", help="Only those priced in it.")
@click.option("--online", is_flag=True, help="Only those that are traded now.")
@_AS_JSON
def products(text: str, quote: str | None, online: bool, as_json: bool) -> None:
    """List the products of the exchange whose name holds TEXT.

    They come from the exchange, or from the lake if the exchange does not answer. The first day is
    shown where the lake knows it.
    """
    settings = load_settings()
    with without_garbage_collection():
        from coinbase_assets.cli.catalogue import show_products

    show_products(settings, text, quote, online, as_json)


@click.command("list")
@click.argument("text", default="")
@_AS_JSON
def list_series(text: str, as_json: bool) -> None:
    """List what the lake holds of each series whose name holds TEXT, configured or not."""
    settings = load_settings()
    with without_garbage_collection():
        from coinbase_assets.cli.reports import show_holdings

    show_holdings(settings, text, as_json)


@click.command()
@takes_series
@_AS_JSON
def status(selection: Selection, as_json: bool) -> None:
    """Show what the lake holds, and any unexplained gaps.

    There is a line for each SERIES, by default for each configured one. Wildcards match all that
    were collected. The exit status is 1 if a series is not complete or is stale.
    """
    settings = load_settings()
    series = selection.among(settings.series, settings.other_series)
    with without_garbage_collection():
        from coinbase_assets.cli.reports import show_status

    if not show_status(settings, series, as_json):
        sys.exit(1)


@click.command()
def metrics() -> None:
    """Print the state of all configured series in Prometheus' text format.

    `GET /metrics` of the web UI answers the same.
    """
    settings = load_settings()
    with without_garbage_collection():
        from coinbase_assets.cli.reports import show_metrics

    show_metrics(settings)


@click.command()
@click.argument("series", type=SeriesParameter())
@click.argument("time", type=TimeParameter())
def why(series: Series, time: datetime) -> None:
    """Say why there is no candle at a time.

    TIME is in UTC, for example 2024-01-31T12:00. The answer names the state in the ledger, the
    witness and when it was asked, and what would settle the question.
    """
    from coinbase_assets.lake.reader import Lake

    with Lake() as lake:
        click.echo(shown(lake.why(series, time)))


# A statement may begin with a comment, which looks like an option.
@click.command("query", context_settings={"ignore_unknown_options": True})
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
