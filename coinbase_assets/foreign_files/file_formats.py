"""The formats of candle files that can be read. The suffix of a file names its format."""

import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
from pyarrow import ipc, parquet

from coinbase_assets.exchange.errors import GarbledAnswer
from coinbase_assets.foreign_files.errors import CandleFileError
from coinbase_assets.foreign_files.foreign_table import ForeignTable, refuse_large
from coinbase_assets.foreign_files.text_formats import read_csv, read_json
from coinbase_assets.plain_text import shown


def read_foreign_table(file: Path) -> ForeignTable:
    """Return the table in the file, which has at least one row. Raises CandleFileError."""
    read, suffix = _reader(file)
    try:
        if not file.is_file():
            found = "not a file" if file.exists() else "there is no such file"
            raise CandleFileError(f"{found}; give the name of a file of candles")
        table = read(file)
    except GarbledAnswer as error:
        raise CandleFileError(
            f"{error}; the file may be cut off; give an array of arrays, or JSON lines"
        ) from None
    except (pa.ArrowException, OSError, EOFError, MemoryError, ValueError, zlib.error) as error:
        if reason := getattr(error, "strerror", ""):
            raise CandleFileError(f"cannot be read: {reason}; correct that, or copy it") from None
        raise CandleFileError(
            f"cannot be read as {suffix} ({shown(str(error), 300)}); the file may be cut off, or of"
            " another format than its name says"
        ) from None
    if not table.columns or not len(table.columns[0]):
        raise CandleFileError("holds no candles; leave it out")
    return table


def _reader(file: Path) -> tuple[Callable[[Path], ForeignTable], str]:
    name = file.name.lower()
    for suffix, read in FORMATS.items():
        if name.endswith(suffix):
            return read, suffix
    raise CandleFileError(f"unknown format; the name must end with {' or '.join(FORMATS)}")


def _read_parquet(file: Path) -> ForeignTable:
    with file.open("rb") as source, parquet.ParquetFile(source) as opened:
        groups = range(opened.num_row_groups)
        size = sum(opened.metadata.row_group(number).total_byte_size for number in groups)
        refuse_large(opened.metadata.num_rows, opened.metadata.num_columns, size)
        table = opened.read()
    table.validate(full=True)
    return ForeignTable(table.columns, table.column_names)


def _read_feather(file: Path) -> ForeignTable:
    refuse_large(size=file.stat().st_size)
    with file.open("rb") as source, ipc.open_file(source) as opened:
        refuse_large(columns=len(opened.schema))
        batches, rows = list[pa.RecordBatch](), 0
        for number in range(opened.num_record_batches):
            batches.append(opened.get_batch(number))
            rows += batches[-1].num_rows
            refuse_large(rows)
        table = pa.Table.from_batches(batches, opened.schema)
    table.validate(full=True)
    return ForeignTable(table.columns, table.column_names)


FORMATS: Mapping[str, Callable[[Path], ForeignTable]] = {
    ".parquet": _read_parquet,
    ".feather": _read_feather,
    ".csv": read_csv,
    ".csv.gz": read_csv,
    ".json": read_json,
    ".json.gz": read_json,
    ".jsonl": read_json,
    ".jsonl.gz": read_json,
}
