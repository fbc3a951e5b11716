"""The command `compare`: somebody's files of candles, held against the lake."""

import sys
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from coinbase_assets.candles.series import CandleSeries, parse_candle_series
from coinbase_assets.cli.parameters import DayParameter, SeriesParameter, refuse_reversed
from coinbase_assets.environment.secrets import public, public_lines
from coinbase_assets.process_tuning import without_garbage_collection

if TYPE_CHECKING:
    from datetime import datetime

    import pyarrow as pa

    from coinbase_assets.foreign_files.candle_files import FileLayout

_UNITS = ("s", "ms", "us", "ns")


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--series",
    type=SeriesParameter(parse_candle_series),
    required=True,
    help="Collected candles or a rollup, for example ETH-EUR:1m.",
)
@click.option("--from", "first", type=DayParameter(), help="First day, UTC. Default: the files'.")
@click.option(
    "--to", "last", type=DayParameter(is_last=True), help="Last day, UTC. Default: the files'."
)
@click.option(
    "--columns", help="What each column is: time,open,high,low,close,volume; - for others."
)
@click.option("--time-unit", type=click.Choice(_UNITS), help="Unit of times that are numbers.")
@click.option(
    "--tolerance",
    type=float,
    default=1e-9,
    show_default=True,
    help="Relative difference up to which values are equal.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def compare(
    files: Sequence[Path],
    series: CandleSeries,
    first: date | None,
    last: date | None,
    columns: str | None,
    time_unit: str | None,
    tolerance: float,
    as_json: bool,
) -> None:
    """Compare candles in your own files with those of the lake.

    FILES hold candles of the same series: Parquet, Feather, CSV, JSON or JSON lines, as freqtrade,
    ccxt, pandas and the exchange write them. Nothing is stored. The exit status is 1 if any candle
    differs, or is only in the files or only in the lake.
    """
    refuse_reversed(first, last)
    if not 0 <= tolerance < 1:
        raise click.UsageError(f"--tolerance {tolerance}: must be from 0 to less than 1")
    layout = _layout(series, columns, time_unit)
    candles = _read_files(files, layout, tolerance)
    start, end = _time_range(candles, series, first, last)
    if not _compare_range(candles, series, start, end, tolerance, as_json):
        sys.exit(1)


def _layout(series: CandleSeries, columns: str | None, time_unit: str | None) -> "FileLayout":
    from coinbase_assets.foreign_files.candle_files import FileLayout
    from coinbase_assets.foreign_files.columns import parse_order

    try:
        return FileLayout(series, parse_order(columns) if columns else None, time_unit)
    except ValueError as error:
        raise click.UsageError(f"--columns {error}") from None


def _read_files(files: Sequence[Path], layout: "FileLayout", tolerance: float) -> "pa.Table":
    from coinbase_assets.foreign_files.candle_files import read_candle_files
    from coinbase_assets.foreign_files.errors import CandleFileError

    try:
        with without_garbage_collection():
            return read_candle_files(files, layout, tolerance)
    except CandleFileError as error:
        raise click.UsageError(str(error)) from None


def _time_range(
    candles: "pa.Table", series: CandleSeries, first: date | None, last: date | None
) -> "tuple[datetime, datetime]":
    """Return the range to compare: the days, both inclusive, or else that of the candles."""
    from coinbase_assets.lake.time_ranges import parse_instant

    held = candles["time"][0].as_py(), candles["time"][-1].as_py()
    start = parse_instant(first) if first else held[0]
    end = parse_instant(last + timedelta(days=1)) if last else held[1] + series.granularity.delta
    if start > held[1] or end <= held[0]:
        raise click.UsageError(
            f"the files hold no candles in these days, but from {held[0]:%F} to {held[1]:%F};"
            " correct --from or --to"
        )
    return start, end


def _compare_range(
    candles: "pa.Table",
    series: CandleSeries,
    start: "datetime",
    end: "datetime",
    tolerance: float,
    as_json: bool,
) -> bool:
    """Print the comparison, and return whether all candles are equal."""
    from coinbase_assets.candles.comparison import compare_candles
    from coinbase_assets.candles.table import clip_candles
    from coinbase_assets.cli.compare_report import Report, as_object, as_text, ledger_words
    from coinbase_assets.lake.portable_json import to_json
    from coinbase_assets.lake.reader import Lake

    with Lake() as lake:
        stored = lake.read_candles_arrow(series, None, start, end, allow_gaps=True)
        found = compare_candles(clip_candles(candles, start, end), stored, tolerance)
        words = ledger_words(lake, series, found.only_in_files)
    report = Report(series, start, end, found, words)
    click.echo(
        public(to_json(as_object(report)), None) if as_json else public_lines(as_text(report))
    )
    return found.is_equal
