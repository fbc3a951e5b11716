"""The filesystem of a BlobSource: what the end of a process waits for."""

from collections.abc import Iterator

import pytest

from coinbase_assets.storage import blob_filesystem
from coinbase_assets.storage.blob_filesystem import BlobFileSystem
from coinbase_assets.storage.blob_source import Download
from coinbase_assets.storage.errors import StorageError
from coinbase_assets.storage.stored_blob import StoredBlob


class OneBlob:
    """A source whose blobs all have the same bytes."""

    uri = "memory"

    def list(self, prefix: str) -> Iterator[StoredBlob]:
        yield StoredBlob(prefix, "1", 5, {})

    def get(self, path: str, etag: str | None = None) -> Download:
        return Download(b"bytes")

    def put(self, *arguments: object, **options: object) -> StoredBlob:
        raise NotImplementedError


def test_unread_filesystem_delays_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    files = BlobFileSystem(OneBlob())
    assert not files.may_be_scanned
    assert files.open_input_file("a").read() == b"bytes"
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
