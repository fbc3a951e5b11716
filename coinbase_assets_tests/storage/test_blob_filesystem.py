"""The filesystem of a BlobSource: what it refuses, and what the end of a process waits for."""

from collections.abc import Iterator
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from coinbase_assets.storage import blob_filesystem
from coinbase_assets.storage.blob_filesystem import BlobFileSystem
from coinbase_assets.storage.blob_source import Download
from coinbase_assets.storage.errors import BlobDamaged, StorageError
from coinbase_assets.storage.stored_blob import StoredBlob


def encoded(table: pa.Table) -> bytes:
    buffer = BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


SMALL = encoded(pa.table({"number": [1]}))


class OneBlob:
    """A source whose blobs all have the same bytes."""

    uri = "memory"

    def __init__(self, content: bytes = SMALL) -> None:
        self._content = content

    def list(self, prefix: str) -> Iterator[StoredBlob]:
        yield StoredBlob(prefix, "1", 5, {})

    def get(self, path: str, etag: str | None = None) -> Download:
        return Download(self._content)

    def put(self, *arguments: object, **options: object) -> StoredBlob:
        raise NotImplementedError


def test_unread_filesystem_delays_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    files = BlobFileSystem(OneBlob())
    assert not files.may_be_scanned
    assert files.open_input_file("a").read() == SMALL
    assert files.may_be_scanned
    monkeypatch.setattr(blob_filesystem, "_PATIENCE", 0)
    files.open_input_file("a")
    assert not files.may_be_scanned


def test_closed_filesystem_says_so() -> None:
    files = BlobFileSystem(OneBlob())
    files.close()
    with pytest.raises(StorageError, match="memory: the lake is closed; open it again"):
        files.open_input_file("a")
    assert not files.may_be_scanned


@pytest.mark.parametrize(
    "content", [b"bytes", SMALL[:-20], encoded(pa.table({"n": [0.0] * 5_000_000}))]
)
def test_damaged_or_huge_table_is_refused(content: bytes) -> None:
    with pytest.raises(BlobDamaged, match=r"^memory/a: "):
        BlobFileSystem(OneBlob(content)).open_input_file("a")
