"""Times in the files of others: ISO 8601 texts, Arrow's times, and numbers since 1970."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from coinbase_assets.foreign_files.columns import is_number, is_text, plain_texts, refuse_nulls
from coinbase_assets.foreign_files.errors import CandleFileError
from coinbase_assets.plain_text import quoted

UNITS: Mapping[str, int] = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
"""How many of each unit are a second."""

# Numbers of these years are in one unit only. The exchange opened in 2015.
_FIRST, _END = (int(np.datetime64(year, "s").astype(int)) for year in ("2000", "2100"))
_YEARS = "from 2000 to 2099"


def read_times(column: pa.ChunkedArray, unit: str | None = None) -> np.ndarray:
    """Return the times as microseconds since 1970, in the order of the rows.

    A time without a zone is in UTC. `unit` is that of numbers; by default, their magnitude says it.
    Raises CandleFileError that names the first row with no time, or with another unit.
    """
    refuse_nulls(column, "time")
    column = plain_texts(column)
    if is_text(column):
        column = _numbers_in(column) or _iso_times(column)
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("ms"))
    if pa.types.is_timestamp(column.type):
        return _microseconds(column, column.cast(pa.int64()).to_numpy(), column.type.unit)
    if not is_number(column):
        raise CandleFileError(f"the times are of the type {column.type}; give ISO 8601 or numbers")
    numbers = _whole_numbers(column)
    return _microseconds(column, numbers, unit or _recognised_unit(numbers))


def _numbers_in(texts: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Return the numbers that all texts are, or None."""
    for type_ in (pa.int64(), pa.float64()):
        try:
            return texts.cast(type_)
        except pa.ArrowException:
            continue
    return None


def _iso_times(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    for type_ in (pa.timestamp("us", "UTC"), pa.timestamp("us")):
        try:
            return texts.cast(type_)
        except pa.ArrowException:
            continue
    return _mixed_iso_times(texts)


def _mixed_iso_times(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the times in texts that are not all of the same form."""
    import pandas as pd

    times = pd.to_datetime(texts.to_pandas(), format="ISO8601", utc=True, errors="coerce")
    if (is_wrong := times.isna().to_numpy()).any():
        row = int(is_wrong.argmax())
        raise CandleFileError(
            f"row {row + 1}: time {quoted(texts[row].as_py())} is not a time; write"
            " 2024-01-31T12:00, or a number since 1970 in every row"
        )
    return pa.chunked_array([pa.Array.from_pandas(times)])


def _whole_numbers(column: pa.ChunkedArray) -> np.ndarray:
    if not pa.types.is_floating(column.type):
        return column.cast(pa.int64(), safe=False).to_numpy()
    numbers = column.cast(pa.float64()).to_numpy()
    is_wrong = ~(np.abs(numbers) < 2.0**63) | (np.floor(numbers) != numbers)
    if is_wrong.any():
        row = int(is_wrong.argmax())
        raise CandleFileError(
            f"row {row + 1}: time {numbers[row]} is not a whole number; correct or remove the row"
        )
    return numbers.astype(np.int64)


def _recognised_unit(numbers: np.ndarray) -> str:
    """Return the unit in which all numbers are times of the years that are possible."""
    units = {unit: ~_outside(numbers, unit) for unit in UNITS}
    unit = next((unit for unit, fits in units.items() if fits[0]), "")
    fits = units.get(unit, np.zeros(1, bool))
    if fits.all():
        return unit
    row = int(fits.argmin())
    other = next((unit for unit, fits in units.items() if fits[row]), "")
    if unit and other:
        raise CandleFileError(
            f"row 1 has its time in {unit}, but row {row + 1} in {other} ({numbers[row]});"
            " write all times in the same unit"
        )
    raise CandleFileError(
        f"row {row + 1}: time {numbers[row]} is not {_YEARS} in {', '.join(UNITS)} since 1970;"
        " correct the row, or name the column of the time with --columns"
    )


def _microseconds(column: pa.ChunkedArray, numbers: np.ndarray, unit: str) -> np.ndarray:
    """Return the numbers, which the column holds, in microseconds. Raises CandleFileError."""
    per_second = UNITS[unit]
    is_wrong = _outside(numbers, unit)
    if per_second > 1_000_000:
        is_wrong |= numbers % (per_second // 1_000_000) != 0
    if is_wrong.any():
        row = int(is_wrong.argmax())
        raise CandleFileError(
            f"row {row + 1}: time {_text_of(column, row)} is not a whole microsecond {_YEARS};"
            " correct the row, or the unit of numbers with --time-unit"
        )
    if per_second > 1_000_000:
        return numbers // (per_second // 1_000_000)
    return numbers * (1_000_000 // per_second)


def _text_of(column: pa.ChunkedArray, row: int) -> str:
    return quoted(column.slice(row, 1).cast(pa.string())[0].as_py())


def _outside(numbers: np.ndarray, unit: str) -> np.ndarray:
    """Return of each number whether it is before or after the years that are possible."""
    return (numbers < _FIRST * UNITS[unit]) | (numbers >= _END * UNITS[unit])
