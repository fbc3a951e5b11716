"""Candles in the files of others, in many formats, as a table with the columns of SCHEMA."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from coinbase_assets.candles.calendar import format_time
from coinbase_assets.candles.comparison import TOLERANCE, VALUES, as_datetime, differing_values
from coinbase_assets.candles.rollups import MONDAY
from coinbase_assets.candles.series import CandleSeries, parse_candle_series
from coinbase_assets.candles.table import (
    COLUMNS,
    TIME_TYPE,
    conform,
    epoch_microseconds,
    merge_candles,
)
from coinbase_assets.foreign_files.columns import candle_columns, read_numbers
from coinbase_assets.foreign_files.errors import CandleFileError
from coinbase_assets.foreign_files.file_formats import read_foreign_table
from coinbase_assets.foreign_files.foreign_table import Order
from coinbase_assets.foreign_files.times import read_times
from coinbase_assets.plain_text import shown

_SECOND = 1_000_000
# Fewer say nothing about the length of candles.
_FEWEST_GAPS = 2
_REQUIRED = pa.schema(
    [pa.field("time", TIME_TYPE), *(pa.field(c.name, c.type) for c in COLUMNS if c.required)]
)


@dataclass(frozen=True)
class FileLayout:
    """What the files hold: candles of `series`, and what cannot be recognised.

    `order` says what the columns are, `time_unit` (s, ms, us, ns) the unit of times in numbers.
    """

    series: CandleSeries
    order: Order | None = None
    time_unit: str | None = None


def read_candle_files(
    files: Sequence[Path], layout: FileLayout, tolerance: float = TOLERANCE
) -> pa.Table:
    """Return the candles of all files, with unique, ascending times.

    Files may overlap where their candles are equal, up to a relative difference of `tolerance`.
    Raises CandleFileError.
    """
    tables = [read_candle_file(file, layout) for file in files]
    _refuse_contradictions(files, tables, tolerance)
    return merge_candles(*tables)


def read_candle_file(file: Path, layout: FileLayout) -> pa.Table:
    """Return the candles in the order of the file. Raises CandleFileError, which names the file."""
    try:
        columns = candle_columns(read_foreign_table(file), layout.order)
        times = read_times(columns["time"], layout.time_unit)
        order = np.argsort(times, kind="stable")
        _refuse_other_step(times[order], layout.series)
        _refuse_off_grid(times, layout.series)
        _refuse_repeated(times, order)
        values = {name: read_numbers(columns[name], name) for name in VALUES}
    except CandleFileError as error:
        raise CandleFileError(f"{_named(file)}: {error}") from None
    table = pa.table({"time": pa.array(times).cast(TIME_TYPE), **values})
    return conform(table.cast(_REQUIRED))


def _refuse_other_step(ascending: np.ndarray, series: CandleSeries) -> None:
    """Raise CandleFileError for candles of another length than those of the series.

    Most of them are as far apart as their length, and all are on its grid.
    """
    gaps = np.diff(ascending)
    if len(gaps) < _FEWEST_GAPS:
        return
    lengths, counts = np.unique(gaps, return_counts=True)
    length, wanted = int(lengths[counts.argmax()]), series.granularity.seconds * _SECOND
    is_grid = length != wanted and length > 0 and not (gaps % length).any()
    if is_grid and 2 * counts.max() > len(gaps) and (length < wanted or not length % wanted):
        name = _length_name(length)
        raise CandleFileError(
            f"its candles are {name} apart, but {series} has {series.granularity} candles;"
            f" give {_series_option(series, name)}"
        )


def _length_name(length: int) -> str:
    """Return microseconds as a granularity is written: 5m, 1h."""
    for unit, seconds in (("w", 604_800), ("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        if length % (seconds * _SECOND) == 0:
            return f"{length // (seconds * _SECOND)}{unit}"
    return f"{length} microseconds"


def _series_option(series: CandleSeries, length: str) -> str:
    """Return the option that names the product's series with this length, if there is one."""
    try:
        return f"--series {parse_candle_series(f'{series.product}:{length}')}"
    except ValueError:
        return f"files of {series.granularity} candles"


def _refuse_off_grid(times: np.ndarray, series: CandleSeries) -> None:
    is_off = (times - MONDAY * _SECOND) % (series.granularity.seconds * _SECOND) != 0
    if is_off.any():
        row = int(is_off.argmax())
        raise CandleFileError(
            f"row {row + 1}: time {as_datetime(times[row]):%FT%T.%fZ} is not on the"
            f" {series.granularity} grid; times are the starts of buckets, in UTC: correct the"
            " times, or --series"
        )


def _refuse_repeated(times: np.ndarray, order: np.ndarray) -> None:
    repeated = np.flatnonzero(np.diff(times[order]) == 0)
    if len(repeated):
        first, second = order[repeated[0]], order[repeated[0] + 1]
        raise CandleFileError(
            f"row {second + 1}: time {format_time(as_datetime(times[first]))} is also that of row"
            f" {first + 1}; remove one of the rows"
        )


def _refuse_contradictions(
    files: Sequence[Path], tables: Sequence[pa.Table], tolerance: float
) -> None:
    candles = pa.concat_tables(tables)
    of_file = np.repeat(np.arange(len(files)), [table.num_rows for table in tables])
    times = epoch_microseconds(candles["time"])
    order = np.argsort(times, kind="stable")
    shared = np.flatnonzero(np.diff(times[order]) == 0)
    first, second = order[shared], order[shared + 1]
    pairs = candles.take(pa.array(first)), candles.take(pa.array(second))
    differs = differing_values(*pairs, tolerance)
    if differs.any():
        row = int(differs.any(axis=0).argmax())
        name = VALUES[int(differs[:, row].argmax())]
        a, b = (pair[name][row].as_py() for pair in pairs)
        raise CandleFileError(
            f"{_named(files[of_file[first[row]]])}, {_named(files[of_file[second[row]]])}: at"
            f" {format_time(pairs[0]['time'][row].as_py())}, {name} is {a} in the first and {b} in"
            " the second; give only the right file"
        )


def _named(file: Path) -> str:
    return shown(str(file), 300)
