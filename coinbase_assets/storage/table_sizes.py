"""How much memory the table in a Parquet file takes, found out before it is read.

A file of a few hundred bytes can hold a table of many gigabytes.
"""

from collections.abc import Collection, Sequence
from functools import cached_property
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from coinbase_assets.storage.errors import BlobDamaged
from coinbase_assets.storage.parquet_pages import Page, read_chunks
from coinbase_assets.storage.thrift_structs import InvalidStruct

MOST_BYTES = 64 * 2**20
"""The most that a table takes in memory, and its file, unless more is allowed.

A month of 1m candles takes 8 MiB.
"""

FOOTER_LIMITS = {"thrift_string_size_limit": 4 * 2**20, "thrift_container_size_limit": 10_000}
# What a value of fixed length takes at most, and what the objects for a page or a column take.
_VALUE_BYTES = 16
_OBJECT_BYTES = 4096


def check_parquet(uri: str, content: bytes, most: int = MOST_BYTES) -> None:
    """Raise BlobDamaged unless the content is a Parquet file whose table takes `most` bytes.

    The pages are not read.
    """
    check_size(uri, len(content), most)
    try:
        size = table_size(content, most)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise not_parquet(uri, error) from error
    check_size(uri, size, most)


def check_size(uri: str, size: int, most: int = MOST_BYTES) -> None:
    """Raise BlobDamaged if a blob, or its table in memory, takes more than `most` bytes."""
    if size > most:
        raise BlobDamaged(
            f"{uri}: takes {size:,} bytes or more, but a partition may take {most:,};"
            " move the blob elsewhere and materialise the partition again"
        )


def not_parquet(uri: str, error: Exception) -> BlobDamaged:
    """Return the error for a file that Arrow cannot read."""
    return BlobDamaged(
        f"{uri}: not a complete Parquet file ({' '.join(str(error).split())[:200]});"
        " materialise the partition again"
    )


def table_size(content: bytes, most: int = MOST_BYTES) -> int:
    """Return the bytes of memory that the table takes at most; above `most`, some of them.

    Raises pa.ArrowException, OSError or ValueError if the file is damaged.
    """
    with pq.ParquetFile(pa.BufferReader(content), **FOOTER_LIMITS) as file:
        schema = file.metadata.schema
    columns = [schema.column(number) for number in range(len(schema))]
    texts = _Texts(content, [column.path for column in columns if _is_text(column)])
    size, repeated = len(content), set[str]()
    for chunk in read_chunks(content):
        if chunk.column >= len(columns):
            raise InvalidStruct("a row group has more columns than the schema")
        column, pages = columns[chunk.column], list(islice(chunk.pages, most // _OBJECT_BYTES))
        is_counted = column.path in texts.encoded and not any(
            each.shares_prefixes for each in pages
        )
        size += _chunk_size(column, chunk.rows, pages, is_counted)
        if size > most:
            return size
        if is_counted and any(page.is_dictionary for page in pages):
            repeated.add(column.path)
    return size + texts.size(repeated)


def _chunk_size(column: Any, rows: int, pages: Sequence[Page], without_repetition: bool) -> int:
    """Return the bytes of a column in a row group; perhaps with each text of a page only once."""
    values = max(rows, sum(page.values for page in pages))
    value_size = max(_VALUE_BYTES, column.length)
    if _is_text(column) and not without_repetition:
        value_size += max((page.size for page in pages), default=0)
    return _OBJECT_BYTES + sum(page.size + _OBJECT_BYTES for page in pages) + values * value_size


def _is_text(column: Any) -> bool:
    return column.physical_type == "BYTE_ARRAY"


class _Texts:
    """The text columns of a file, read as Arrow dictionaries: each different text once."""

    def __init__(self, content: bytes, names: Sequence[str]) -> None:
        self._content = content
        self._names = names

    @cached_property
    def encoded(self) -> Collection[str]:
        """The columns that Arrow reads so. Those below others are not among them."""
        if not self._names:
            return ()
        with self._open() as file:
            return [f.name for f in file.schema_arrow if pa.types.is_dictionary(f.type)]

    def size(self, names: Collection[str]) -> int:
        """Return the bytes of the texts in these columns, each as often as it occurs."""
        if not names:
            return 0
        with self._open() as file:
            table = file.read(sorted(names), use_threads=False)
        chunks = [chunk for column in table.columns for chunk in column.chunks]
        sizes = [pc.sum(pc.binary_length(each.dictionary).take(each.indices)) for each in chunks]
        return sum(size.as_py() or 0 for size in sizes)

    def _open(self) -> pq.ParquetFile:
        source = pa.BufferReader(self._content)
        return pq.ParquetFile(source, read_dictionary=self._names, **FOOTER_LIMITS)
