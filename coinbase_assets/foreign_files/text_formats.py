"""Tables in text files of others: CSV, JSON and JSON lines, also packed by gzip.

What is read has bounds: in bytes, rows, columns and levels of JSON. Functions raise
CandleFileError, and the errors of Arrow, gzip and decoding, for which FORMATS' reader looks.
"""

import csv
import gzip
import io
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv as arrow_csv
from pyarrow import json

from coinbase_assets.exchange.bounded_json import parse_json
from coinbase_assets.foreign_files.errors import CandleFileError
from coinbase_assets.foreign_files.foreign_table import (
    EXCHANGE_ORDER,
    MOST_ROWS,
    PLAIN_ORDER,
    ForeignTable,
    refuse_large,
)
from coinbase_assets.plain_text import quoted, shown

# Four years of 1m candles.
_MOST_TEXT = 1 << 28
_LONGEST_HEADER = 1 << 16
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def _read_text(file: Path) -> bytes:
    """Return the text of the file, without a byte order mark and white space at its start."""
    is_packed = file.suffix.lower() == ".gz"
    with gzip.open(file) if is_packed else file.open("rb") as source:
        content = source.read(_MOST_TEXT + 1)
    if len(content) > _MOST_TEXT:
        raise CandleFileError(
            f"has more than {_MOST_TEXT >> 20} MiB of text; split it, or convert it to Parquet"
        )
    content = content.removeprefix(_BYTE_ORDER_MARK).lstrip()
    if not content:
        raise CandleFileError("is empty; leave it out")
    return content


def read_csv(file: Path) -> ForeignTable:
    """Read CSV, with names in its first line or without, all values as texts."""
    content = _read_text(file)
    cells = _first_cells(content)
    has_header = not any(map(_is_number, cells))
    identifiers = [str(number) for number in range(len(cells))]
    table = arrow_csv.read_csv(
        io.BytesIO(content),
        arrow_csv.ReadOptions(
            use_threads=False, column_names=identifiers, skip_rows=int(has_header)
        ),
        convert_options=arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(identifiers, pa.string())
        ),
    )
    if has_header:
        return ForeignTable(table.columns, cells)
    return ForeignTable(table.columns, orders=[PLAIN_ORDER])


def _first_cells(content: bytes) -> Sequence[str]:
    """Return the cells of the first line of CSV."""
    line = re.split(rb"[\r\n]", content[: _LONGEST_HEADER + 1], maxsplit=1)[0]
    if len(line) > _LONGEST_HEADER:
        raise CandleFileError("its first line never ends; give CSV with a line for each candle")
    cells = next(csv.reader([line.decode()]))
    refuse_large(columns=len(cells))
    return cells


def _is_number(text: str) -> bool:
    with suppress(ValueError):
        float(text)
        return True
    return False


def read_json(file: Path) -> ForeignTable:
    """Read an array of arrays, an array of objects, or an object a line."""
    content = _read_text(file)
    if content.startswith(b"{"):
        table = json.read_json(io.BytesIO(content))
        refuse_large(table.num_rows, table.num_columns)
        return ForeignTable(table.columns, table.column_names)
    rows = parse_json(content, MOST_ROWS, "candles")
    if isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
        return _table_of_objects(rows)
    if isinstance(rows, list) and all(isinstance(row, list) for row in rows):
        return _table_of_arrays(rows)
    raise CandleFileError(f"{quoted(rows)} is not a list of candles; give an array of arrays")


def _table_of_objects(rows: Sequence[Mapping[str, Any]]) -> ForeignTable:
    names = list(rows[0]) if rows else []
    refuse_large(columns=len(names))
    return ForeignTable([_column([row.get(name) for row in rows]) for name in names], names)


def _table_of_arrays(rows: Sequence[Sequence[Any]]) -> ForeignTable:
    width = len(rows[0]) if rows else 0
    refuse_large(columns=width)
    for number, row in enumerate(rows, 1):
        if len(row) != width:
            raise CandleFileError(
                f"row {number}: {quoted(row)} has {len(row)} values, but row 1 has {width};"
                " correct the row"
            )
    columns = [_column([row[position] for row in rows]) for position in range(width)]
    return ForeignTable(columns, orders=[PLAIN_ORDER, EXCHANGE_ORDER])


def _column(values: Sequence[Any]) -> pa.ChunkedArray:
    """Return the values in a type of their own, or as texts if they have several types."""
    try:
        return pa.chunked_array([pa.array(values)])
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        texts = [None if value is None else shown(str(value)) for value in values]
        return pa.chunked_array([pa.array(texts, pa.string())])
