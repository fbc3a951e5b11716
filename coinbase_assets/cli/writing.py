"""The commands that write files: `export` and `plot`."""

import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import click

from coinbase_assets.candles.calendar import DAY
from coinbase_assets.candles.series import CandleSeries, parse_candle_series
from coinbase_assets.cli.parameters import (
    FOLDED,
    DayParameter,
    FileParameter,
    SeriesParameter,
    export_suffixes,
    picture_suffixes,
    refuse_future,
    refuse_reversed,
)
from coinbase_assets.environment.secrets import public
from coinbase_assets.process_tuning import without_garbage_collection
from coinbase_assets.settings import load_settings

_ANY_SERIES = SeriesParameter(parse_candle_series)
_STDOUT = Path("-")


@click.command()
@click.argument("series", type=_ANY_SERIES, required=False)
@click.option("--series", "named", type=_ANY_SERIES, help="The same as SERIES.")
@click.option("--from", "first", type=DayParameter(), help="First day, UTC. Default: the oldest.")
@click.option("--to", "last", type=DayParameter(is_last=True), help="Last day. Default: today.")
@click.option(
    "--out",
    type=FileParameter(export_suffixes, or_stdout=True),
    default="-",
    help="A file whose suffix names the format: .parquet, .csv, .csv.gz, .json, .jsonl or"
    " .feather. Default: -, CSV on standard output.",
)
@click.option("--layout", type=click.Choice(["freqtrade"]), help="For freqtrade; needs .feather.")
@click.option("--time", type=click.Choice(["iso", "epoch"]), default="iso", help="Text or seconds.")
@click.option(
    "--fill", type=click.Choice(["previous", "nan"]), help="Rows for buckets without a candle."
)
@click.option("--allow-gaps", is_flag=True, help="Write what there is, if days are missing.")
def export(
    series: CandleSeries | None,
    named: CandleSeries | None,
    first: date | None,
    last: date | None,
    out: Path,
    layout: str | None,
    time: str,
    fill: str | None,
    allow_gaps: bool,
) -> None:
    """Write the candles of SERIES to a file, or to standard output.

    SERIES is collected or rolled up, or made of shorter candles, for example ETH-EUR:4h. If days
    were not collected, they are named, no file is written, and the exit status is 1.
    """
    if not (series := series or named):
        raise click.UsageError("which series? For example: coinbase-assets export ETH-EUR:15m")
    refuse_reversed(first, last)
    if layout and (out.suffix != ".feather" or time == "epoch"):
        raise click.UsageError("--layout freqtrade: needs --out FILE.feather, without --time")
    from coinbase_assets.lake.export import FORMATS, FREQTRADE, write_candles, write_file
    from coinbase_assets.lake.reader import Lake

    epoch = time == "epoch"
    with Lake() as lake:
        tables = lake.stream_candles(
            series,
            None,
            first,
            last and last + DAY,
            fill=fill,  # type: ignore[arg-type]  # click has checked it
            allow_gaps=allow_gaps,
        )
        if out == _STDOUT:
            count = write_candles(sys.stdout.buffer, tables, FORMATS[".csv"], epoch=epoch)
        else:
            count = write_file(out, tables, FREQTRADE if layout else None, epoch=epoch)
    click.echo(public(f"{out}: {count} candles"), err=out == _STDOUT)


@click.command()
@click.argument("series", type=_ANY_SERIES, nargs=-1)
@click.option("--series", "named", type=_ANY_SERIES, multiple=True, help="The same as SERIES.")
@click.option(
    "--from", "first", type=DayParameter(), help="First day, UTC. Default: 29 days before --to."
)
@click.option(
    "--to", "last", type=DayParameter(is_last=True), help="Last day, UTC. Default: newest candle."
)
@click.option(
    "--candles", type=click.Choice(list(FOLDED)), help="Length of those drawn. Default: what fits."
)
@click.option(
    "--out",
    type=FileParameter(picture_suffixes),
    help="A .png, .svg or .pdf file. Default: PRODUCT_GRANULARITY.png in this folder.",
)
@click.option("--open", "opens", is_flag=True, help="Open the picture, too.")
def plot(
    series: Sequence[CandleSeries],
    named: Sequence[CandleSeries],
    first: date | None,
    last: date | None,
    candles: str | None,
    out: Path | None,
    opens: bool,
) -> None:
    """Draw candles, their volume, and a calendar of gaps: a picture for each SERIES."""
    settings = load_settings()
    if not (series := [*series, *named]):
        raise click.UsageError("which series? For example: coinbase-assets plot ETH-EUR:15m")
    if out and len(series) > 1:
        raise click.UsageError("--out names a single picture; leave it out for several series")
    refuse_reversed(first, last)
    refuse_future(last)
    with without_garbage_collection():
        from coinbase_assets.cli.reports import plot_series

    for file in plot_series(settings, series, first, last, out, candles):
        if opens:
            click.launch(str(file))
