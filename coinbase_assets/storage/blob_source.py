"""What a table store needs from the place that keeps its blobs.

`azure_blobs.AzureBlobs` is the implementation for Azure. Another storage needs only a class with
these methods: `ParquetStore` and `Lake` then work on it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from coinbase_assets.storage.stored_blob import StoredBlob


@dataclass(frozen=True)
class Download:
    """A blob's bytes, and the MD5 digest stored with them, if there is one."""

    content: bytes
    md5: bytes | None = None


class BlobSource(Protocol):
    """Blobs by path, in one container or folder.

    Paths are relative and use slashes. Every method raises StorageError or a subclass of it.
    """

    @property
    def uri(self) -> str:
        """The URI of the container or folder, without a slash at its end and without secrets."""

    def list(self, prefix: str) -> Iterator[StoredBlob]:
        """Yield the blobs whose paths start with the prefix, sorted by path.

        Yields nothing while the container or folder does not exist.
        """

    def get(self, path: str, etag: str | None = None) -> Download:
        """Download a blob. With `etag`, raises BlobChanged if the blob has another ETag.

        Raises PartitionMissing if the blob does not exist.
        """

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
        """Write a blob and its metadata `fields` in one atomic step.

        Raises BlobChanged if the stored blob is not `replacing`; for None, if any blob exists. With
        `overwrite`, any stored blob is replaced.
        """
