"""A BlobSource that can be closed."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack

from coinbase_assets.storage.blob_source import BlobSource, Download
from coinbase_assets.storage.errors import StorageError
from coinbase_assets.storage.stored_blob import StoredBlob


class ClosableSource:
    """A BlobSource that passes requests on to another, and refuses them after `close`.

    It keeps the connections that the other source needs: they stay open while this one is in use.
    """

    def __init__(self, source: BlobSource, connections: ExitStack) -> None:
        self._source = source
        self._connections = connections
        self._closed = False
        self.uri = source.uri

    def close(self) -> None:
        self._closed = True

    def list(self, prefix: str) -> Iterator[StoredBlob]:
        yield from self._open().list(prefix)

    def get(self, path: str, etag: str | None = None) -> Download:
        return self._open().get(path, etag)

    def put(
        self,
        path: str,
        content: bytes,
        content_type: str,
        fields: Mapping[str, str],
        replacing: StoredBlob | None = None,
        *,
        overwrite: bool = False,
    ) -> StoredBlob:
        source = self._open()
        return source.put(path, content, content_type, fields, replacing, overwrite=overwrite)

    def _open(self) -> BlobSource:
        """Return the source. Raises StorageError after `close`."""
        if self._closed:
            raise StorageError(f"{self.uri}: the lake is closed; open it again")
        return self._source
