"""The newest files that this process has put: nobody who lists them has to download them."""

import threading
from collections import OrderedDict

from coinbase_assets.storage.stored_blob import StoredBlob


class RecentPuts:
    """The content of files, `most_bytes` at most, the newest of all containers."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._contents = OrderedDict[tuple[str, str, str | None], bytes]()
        self._changing = threading.Lock()

    def keep(self, uri: str, blob: StoredBlob, content: bytes) -> None:
        """Keep the content that has just been put at `uri`, as the blob says."""
        key = (uri, blob.etag, blob.md5)
        with self._changing:
            self._bytes += len(content) - len(self._contents.pop(key, b""))
            self._contents[key] = content
            while self._bytes > self._most_bytes:
                _, oldest = self._contents.popitem(last=False)
                self._bytes -= len(oldest)

    def get(self, uri: str, blob: StoredBlob) -> bytes | None:
        """Return the content of a listed blob if this process has put it, and still knows it."""
        return self._contents.get((uri, blob.etag, blob.md5))
