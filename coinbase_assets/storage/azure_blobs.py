"""Blobs in a container of an Azure storage account.

Azure's errors become StorageErrors of one line, without secrets.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.storage.blob import BlobClient, BlobServiceClient, ContentSettings

from coinbase_assets.environment.secrets import public
from coinbase_assets.storage.blob_listing import list_blobs
from coinbase_assets.storage.blob_source import Download
from coinbase_assets.storage.errors import BlobChanged, PartitionMissing, StorageError
from coinbase_assets.storage.metadata_headers import headers_of
from coinbase_assets.storage.stored_blob import StoredBlob
from coinbase_assets.storage.table_sizes import MOST_BYTES, check_size

_REFUSED = (401, 403)
# Azure's codes for a blob that does not meet the request's condition. The statuses do not suffice:
# archived and immutable blobs are refused with the same ones.
_CHANGED = ("BlobAlreadyExists", "ConditionNotMet")
_SERVER_ERROR = 500
_MOST_OF_AZURE = 500


class AzureBlobs:
    """The BlobSource of one container. The first put creates the container if it is missing."""

    def __init__(
        self, service: BlobServiceClient, container: str, most_bytes: int = MOST_BYTES
    ) -> None:
        self._most_bytes = most_bytes
        self._container = service.get_container_client(container)
        self.uri = f"{service.primary_endpoint.split('?')[0].rstrip('/')}/{container}"

    def list(self, prefix: str) -> Iterator[StoredBlob]:
        with self._translated_errors(), suppress(ResourceNotFoundError):
            yield from list_blobs(self._container, prefix)

    def get(self, path: str, etag: str | None = None) -> Download:
        condition: dict[str, Any] = _unchanged(etag) if etag else {}
        with self._translated_errors(path):
            download = self._container.download_blob(path, **condition)
            check_size(f"{self.uri}/{path}", download.size, self._most_bytes)
            content = download.readall()
        md5 = download.properties.content_settings.content_md5
        return Download(content, bytes(md5) if md5 else None)

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
        md5 = hashlib.md5(content, usedforsecurity=False).digest()
        with self._translated_errors(path):
            answer = self._upload(
                self._container.get_blob_client(path),
                data=content,
                overwrite=True,
                metadata=headers_of(fields),
                content_settings=ContentSettings(content_type, content_md5=bytearray(md5)),
                validate_content=True,
                **({} if overwrite else _still(replacing)),
            )
        return StoredBlob(path, answer["etag"].strip('"'), len(content), dict(fields), md5.hex())

    def _upload(self, blob: BlobClient, **upload: Any) -> dict[str, Any]:
        """Upload first: a credential for one container may lack the right to create containers."""
        try:
            return blob.upload_blob(**upload)
        except ResourceNotFoundError as error:
            if getattr(error, "error_code", "") != "ContainerNotFound":
                raise
        with suppress(ResourceExistsError):
            self._container.create_container()
        return blob.upload_blob(**upload)

    @contextmanager
    def _translated_errors(self, path: str = "") -> Iterator[None]:
        """Raise StorageErrors in place of Azure's, unchained: Azure's texts may hold a SAS."""
        uri = f"{self.uri}/{path}"
        try:
            yield
        except ResourceNotFoundError:
            raise PartitionMissing(f"{uri}: the blob does not exist") from None
        except AzureError as error:
            if getattr(error, "error_code", "") in _CHANGED:
                raise BlobChanged(f"{uri}: another writer has changed the blob") from None
            raise StorageError(f"{uri}: {_explain(error)}") from None


def _still(replacing: StoredBlob | None) -> dict[str, Any]:
    """The condition that the stored blob is still `replacing`; None: that no blob exists."""
    if replacing is None:
        return {"match_condition": MatchConditions.IfMissing}
    return _unchanged(replacing.etag)


def _unchanged(etag: str) -> dict[str, Any]:
    return {"etag": etag, "match_condition": MatchConditions.IfNotModified}


def _explain(error: AzureError) -> str:
    message = public(str(error.message).strip().partition("\n")[0], _MOST_OF_AZURE)
    status = error.status_code if isinstance(error, HttpResponseError) else None
    if status in _REFUSED or isinstance(error, ClientAuthenticationError):
        return f"the storage account refused the credential ({message}); check AZURE_STORAGE_..."
    if status:
        full = "; is the disk of the emulator full?" if status == _SERVER_ERROR else ""
        return f"the storage account answered {status} ({message}){full}"
    return (
        f"the storage account cannot be reached ({message}); is it running? check the network and"
        " AZURE_STORAGE_..."
    )
