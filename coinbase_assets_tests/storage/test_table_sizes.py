"""The size of a table is known before it is read, whatever the file says about itself."""

from contextlib import suppress
from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from coinbase_assets.storage.errors import BlobDamaged
from coinbase_assets.storage.parquet_pages import read_chunks
from coinbase_assets.storage.table_sizes import MOST_BYTES, check_parquet, table_size
from coinbase_assets.storage.thrift_structs import InvalidStruct, read_struct

NUMBERS = pa.repeat(pa.scalar(1.5), 100_000)
# What checking a file may allocate; the tables would take far more.
_ALLOWED = 32 * 2**20


def encoded(table: pa.Table, **options: Any) -> bytes:
    buffer = BytesIO()
    pq.write_table(table, buffer, compression="zstd", **options)
    return buffer.getvalue()


def repeated(value: str | bytes, rows: int, kind: pa.DataType | None = None) -> pa.Table:
    """Return a table with one value, repeated; the column's type is `kind`."""
    indices = pa.repeat(pa.scalar(0, pa.int32()), rows)
    return pa.table({"note": pa.DictionaryArray.from_arrays(indices, pa.array([value], kind))})


def lists(rows: int) -> pa.Table:
    values = repeated("x" * 10_000, rows)["note"].combine_chunks()
    return pa.table({"notes": pa.ListArray.from_arrays(pa.array([0, rows], pa.int32()), values)})


BOMBS = {
    "rows": lambda: encoded(pa.table({"n": pa.chunked_array([NUMBERS] * 100)})),
    "row groups": lambda: encoded(
        pa.table({"n": pa.chunked_array([NUMBERS] * 50)}), row_group_size=10_000
    ),
    "repeated text": lambda: encoded(repeated("x" * 100_000, 40_000)),
    "repeated bytes of fixed length": lambda: encoded(
        repeated(b"x" * 10_000, 8_000, pa.binary(10_000))
    ),
    "repeated text in lists": lambda: encoded(lists(40_000)),
    "shared prefixes": lambda: encoded(
        pa.table({"note": ["x" * 100_000] * 2000}),
        use_dictionary=False,
        column_encoding={"note": "DELTA_BYTE_ARRAY"},
    ),
    "zeros": lambda: encoded(
        pa.table({"n": [bytes(2**20)] * 70}), use_dictionary=False, data_page_size=2**30
    ),
    "version 2 pages": lambda: encoded(
        pa.table({"n": pa.chunked_array([NUMBERS] * 100)}), data_page_version="2.0"
    ),
}


# Buffers may outlive a test, so the pool must, too.
_POOL = pa.proxy_memory_pool(pa.system_memory_pool())


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_huge_table_is_refused_before_it_is_read(bomb: Any) -> None:
    content = bomb()
    assert len(content) < 2**20
    usual = pa.default_memory_pool()
    pa.set_memory_pool(_POOL)
    try:
        with pytest.raises(BlobDamaged, match=r"^lake/a: takes [0-9,]+ bytes or more") as refused:
            check_parquet("lake/a", content)
    finally:
        pa.set_memory_pool(usual)
    assert _POOL.max_memory() < _ALLOWED
    assert str(refused.value).endswith(
        f"but a partition may take {MOST_BYTES:,}; move the blob elsewhere"
        " and materialise the partition again"
    )


def test_footer_is_not_believed() -> None:
    """The footer says that a column takes a few bytes; the header of its page, a gigabyte."""
    content = encoded(pa.table({"n": [bytes(10_000)]}), use_dictionary=False)
    size = next(next(read_chunks(content)).pages).size
    before, after = (_varint(2 * number) for number in (size, 2**30))
    assert content.count(before) >= 1
    forged = content.replace(before, after, 1)
    assert table_size(content) < MOST_BYTES < table_size(forged)
    with pytest.raises(BlobDamaged, match="takes"):
        check_parquet("a", forged)


def _varint(number: int) -> bytes:
    groups = [number >> shift & 0x7F for shift in range(0, max(number.bit_length(), 1), 7)]
    return bytes([*(group | 0x80 for group in groups[:-1]), groups[-1]])


@pytest.mark.parametrize(
    "table",
    [
        pa.table({}),
        pa.table({"n": pa.array([], pa.float64())}),
        pa.table({"n": pa.array([None, 1.5])}),
        pa.table({"note": ["a", None, "b"] * 10_000}),
        pa.table({"note": pa.array(["a", None, "b"] * 10_000, pa.large_string())}),
        pa.table({"a.b": [str(n) for n in range(1000)]}),
        pa.table({"notes": [["a", "b"], []], "pair": [{"x": 1, "y": ["z"]}] * 2}),
    ],
)
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_size_is_no_less_than_that_in_memory(table: pa.Table, version: str) -> None:
    content = encoded(table, data_page_version=version)
    assert table.nbytes <= table_size(content) < MOST_BYTES
    check_parquet("a", content)


def test_damaged_file_raises_nothing_else() -> None:
    content = encoded(pa.table({"note": ["a", "b"], "n": [1, 2]}))
    for place in range(len(content)):
        with suppress(BlobDamaged):
            check_parquet("a", content[:place] + b"\xff" + content[place + 1 :])


@pytest.mark.parametrize(
    "content",
    [b"", b"\x15", b"\x15" + b"\xff" * 20, b"\x1c" * 40, b"\x1f\x00", b"\x19\xf8\xff\xff\xff\x0f"],
    ids=["empty", "cut off", "endless number", "too deep", "unknown type", "long list"],
)
def test_read_struct_refuses(content: bytes) -> None:
    with pytest.raises(InvalidStruct):
        read_struct(content, 0)
