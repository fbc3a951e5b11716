"""Exports of candles to a file: Parquet, CSV, JSON lines or Feather."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, Self

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, ipc, parquet

from coinbase_assets.candles.calendar import TIME_FORMAT
from coinbase_assets.candles.table import SCHEMA
from coinbase_assets.lake.portable_json import to_json
from coinbase_assets.lake.replaced_files import replaced


class TableWriter(Protocol):
    """A file that tables are appended to."""

    def write_table(self, table: pa.Table) -> None: ...


def write_candles(file: Path, tables: Iterable[pa.Table]) -> int:
    """Write the tables in the format of the file's suffix and return the number of candles.

    The file is replaced only after the last table: an error leaves it as it was. Raises OSError.
    """
    rows = 0
    with replaced(file) as part, FORMATS[file.suffix.lower()](part) as writer:
        for table in tables:
            writer.write_table(table)
            rows += table.num_rows
    return rows


class _JsonLines:
    """JSON lines: an object per candle, its time in ISO 8601, its numbers with all digits."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("w")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def write_table(self, table: pa.Table) -> None:
        times = pc.strftime(table["time"].cast(pa.timestamp("s", "UTC")), TIME_FORMAT)
        rows = table.set_column(0, "time", times).to_pylist()
        self._file.writelines(f"{to_json(row)}\n" for row in rows)


def _feather(file: Path) -> Any:
    return ipc.new_file(str(file), SCHEMA, options=ipc.IpcWriteOptions(compression="zstd"))


FORMATS: Mapping[str, Callable[[Path], AbstractContextManager[TableWriter]]] = {
    ".parquet": lambda file: parquet.ParquetWriter(str(file), SCHEMA, compression="zstd"),
    ".csv": lambda file: csv.CSVWriter(str(file), SCHEMA),
    ".jsonl": _JsonLines,
    ".feather": _feather,
}
