"""The pages of a Parquet file: how many values and bytes each holds, by its own header.

Arrow allocates what the headers say, whatever the footer says. pyarrow shows no page headers, and
its view of a damaged footer can abort the process. The fields are those of
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from coinbase_assets.storage.thrift_structs import InvalidStruct, read_struct

_TAIL = 8
_LONGEST_FOOTER = 2**20
_DELTA_BYTE_ARRAY = 7


class Page(NamedTuple):
    """A page of data or a dictionary: its number of values, and its bytes before compression.

    In a page that `shares_prefixes`, a text may hold the texts before it.
    """

    values: int
    size: int
    is_dictionary: bool
    shares_prefixes: bool


class Chunk(NamedTuple):
    """A column in a row group: the number of the column, and the group's rows."""

    column: int
    rows: int
    pages: Iterator[Page]


def read_chunks(content: bytes) -> Iterator[Chunk]:
    """Yield the column chunks of the file. Raises InvalidStruct, also while pages are read."""
    with _no_field_missing():
        for group in _footer(content)[4]:
            for column, chunk in enumerate(group[1]):
                yield Chunk(column, int(group[3]), _pages(content, chunk[3]))


def _footer(content: bytes) -> dict[int, Any]:
    length = int.from_bytes(content[-_TAIL : -_TAIL // 2], "little")
    if length > _LONGEST_FOOTER:
        raise InvalidStruct(f"the footer has {length} bytes, more than {_LONGEST_FOOTER}")
    return read_struct(content, len(content) - _TAIL - length)[0]


def _pages(content: bytes, chunk: dict[int, Any]) -> Iterator[Page]:
    with _no_field_missing():
        start = min(filter(None, (chunk[9], chunk.get(11))), default=0)
        end = start + chunk[7]
        while start < end:
            header, start = read_struct(content, start)
            yield _page(header)
            start += header[3]


def _page(header: dict[int, Any]) -> Page:
    size, compressed = header[2], header[3]
    data, dictionary, data_v2 = (header.get(number) or {} for number in (5, 7, 8))
    values = max(kind.get(1, 0) for kind in (data, dictionary, data_v2))
    if min(size, compressed, values) < 0:
        raise InvalidStruct("a page has a negative size")
    return Page(values, size, bool(dictionary), _DELTA_BYTE_ARRAY in (data.get(2), data_v2.get(4)))


@contextmanager
def _no_field_missing() -> Iterator[None]:
    """Raise InvalidStruct where a field is missing or has another type."""
    try:
        yield
    except (LookupError, TypeError, AttributeError) as error:
        raise InvalidStruct("the footer or a page header is damaged") from error
