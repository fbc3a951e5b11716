"""Exports of candles: Parquet, Feather, CSV, JSON and JSON lines, and the layout of freqtrade."""

import gzip
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol, Self

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


Shape = Callable[[pa.Table], pa.Table]


@dataclass(frozen=True)
class Format:
    """How candles are written: `shape` makes the columns, `open_file` begins a file of them."""

    open_file: Callable[[BinaryIO, pa.Schema], AbstractContextManager[TableWriter]]
    shape: Shape


def write_file(
    file: Path, tables: Iterable[pa.Table], form: Format | None = None, *, epoch: bool = False
) -> int:
    """Write the tables as `write_candles` does, by default in the format of the file's suffix.

    The file is replaced only after the last table: an error leaves it as it was.
    """
    with replaced(file) as part, part.open("wb") as sink:
        return write_candles(sink, tables, form or format_of(file), epoch=epoch)


def write_candles(
    sink: BinaryIO, tables: Iterable[pa.Table], form: Format, *, epoch: bool = False
) -> int:
    """Write the tables and return the number of candles.

    Times are in ISO 8601 where the format has no type for them; with `epoch`, they are seconds
    since 1970. Raises OSError.
    """
    shape, rows = _with_epoch if epoch else form.shape, 0
    schema = shape(SCHEMA.empty_table()).schema
    with form.open_file(sink, schema) as writer:
        for table in tables:
            writer.write_table(shape(table))
            rows += table.num_rows
    return rows


def _unchanged(table: pa.Table) -> pa.Table:
    return table


def _with_texts(table: pa.Table) -> pa.Table:
    times = pc.strftime(table["time"].cast(pa.timestamp("s", "UTC")), TIME_FORMAT)
    return table.set_column(0, "time", times)


def _with_epoch(table: pa.Table) -> pa.Table:
    seconds = table["time"].cast(pa.timestamp("s", "UTC")).cast(pa.int64())
    return table.set_column(0, "time", seconds)


def _as_freqtrade(table: pa.Table) -> pa.Table:
    """Return the columns that freqtrade reads: `date` in milliseconds, prices, volume."""
    names = ["open", "high", "low", "close", "volume"]
    return table.select(names).add_column(0, "date", table["time"].cast(pa.timestamp("ms", "UTC")))


class _JsonLines:
    """JSON lines: an object a candle, its numbers with all digits."""

    def __init__(self, sink: BinaryIO, schema: pa.Schema) -> None:
        self._sink = sink

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def write_table(self, table: pa.Table) -> None:
        self._sink.writelines(f"{to_json(row)}\n".encode() for row in table.to_pylist())


class _JsonArray(_JsonLines):
    """A JSON array with an object a candle."""

    def __enter__(self) -> Self:
        self._sink.write(b"[")
        self._separator = "\n"
        return self

    def __exit__(self, *error: object) -> None:
        self._sink.write(b"\n]\n")

    def write_table(self, table: pa.Table) -> None:
        for row in table.to_pylist():
            self._sink.write(f"{self._separator}{to_json(row)}".encode())
            self._separator = ",\n"


def _parquet(sink: BinaryIO, schema: pa.Schema) -> Any:
    return parquet.ParquetWriter(sink, schema, compression="zstd")


def _csv(sink: BinaryIO | gzip.GzipFile, schema: pa.Schema) -> Any:
    return csv.CSVWriter(sink, schema, write_options=csv.WriteOptions(quoting_style="none"))


@contextmanager
def _csv_gz(sink: BinaryIO, schema: pa.Schema) -> Iterator[TableWriter]:
    with gzip.open(sink, "wb") as packed, _csv(packed, schema) as writer:
        yield writer


def _feather(compression: str) -> Callable[[BinaryIO, pa.Schema], Any]:
    options = ipc.IpcWriteOptions(compression=compression)
    return lambda sink, schema: ipc.new_file(sink, schema, options=options)


FORMATS: Mapping[str, Format] = {
    ".parquet": Format(_parquet, _unchanged),
    ".csv": Format(_csv, _with_texts),
    ".csv.gz": Format(_csv_gz, _with_texts),
    ".json": Format(_JsonArray, _with_texts),
    ".jsonl": Format(_JsonLines, _with_texts),
    ".feather": Format(_feather("zstd"), _unchanged),
}
"""The formats by the suffixes of files."""

FREQTRADE = Format(_feather("lz4"), _as_freqtrade)
"""A file that freqtrade reads when it is named, for example, ETH_EUR-15m.feather."""


def format_of(file: Path) -> Format:
    """Return the format that the end of the file's name says. Raises KeyError if it says none."""
    name = file.name.lower()
    return FORMATS[max((end for end in FORMATS if name.endswith(end)), key=len, default="")]
