"""Tables as Parquet blobs in one container: listed, read, and replaced only if unchanged.

A table's fields (see fields.py) go into the file and into the blob's own metadata, so that what a
blob holds is known without reading it.
"""

import hashlib
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.storage.blob import BlobClient, BlobProperties, BlobServiceClient, ContentSettings

from coinbase_assets.storage.errors import (
    BlobChanged,
    BlobDamaged,
    PartitionMissing,
    StorageError,
    without_signature,
)
from coinbase_assets.storage.stored_blob import StoredBlob
from coinbase_assets.table_metadata import table_fields

_REFUSED = (401, 403)
# Azure's codes for a blob that is not as the condition says. One that is archived or immutable is
# refused with the same statuses, however often it is tried.
_CHANGED = ("BlobAlreadyExists", "ConditionNotMet")
_SERVER_ERROR = 500
# The objects of a page take 11 KB a blob, so those of Azure's own 5,000 blobs a page 55 MB.
_BLOBS_PER_PAGE = 500
# Beyond it, values hardly repeat.
_DICTIONARY_BYTES = 1 << 15


class ParquetStore:
    """The container of one storage account. Every method raises StorageError or a kind of it."""

    def __init__(self, service: BlobServiceClient, container: str) -> None:
        self._container = service.get_container_client(container)
        self.container_uri = f"{service.primary_endpoint.split('?')[0].rstrip('/')}/{container}"

    def uri(self, path: str) -> str:
        return f"{self.container_uri}/{path}"

    def find(self, paths: Collection[str]) -> dict[str, StoredBlob]:
        """Those of the paths that have a blob."""
        wanted = set(paths)
        if not wanted:
            return {}
        prefix = os.path.commonprefix(list(wanted))  # noqa: RUF071 (names, not folders)
        return {blob.path: blob for blob in self._listed(prefix) if blob.path in wanted}

    def find_partitions(self, template: str, keys: Collection[str]) -> dict[str, StoredBlob]:
        """Those of the partitions that have a blob; `template` makes a key a path."""
        paths = {template.format(partition=key): key for key in keys}
        return {paths[path]: blob for path, blob in self.find(paths).items()}

    def list_partitions(self, prefix: str) -> dict[str, StoredBlob]:
        """The blobs whose path begins so, by the partition key that names their folder."""
        return {path.split("/")[-2].split("=")[1]: blob for path, blob in self.list(prefix).items()}

    def list(self, prefix: str) -> dict[str, StoredBlob]:
        """All blobs whose path begins so, by path; none where there is no container."""
        return {blob.path: blob for blob in self._listed(prefix)}

    def _listed(self, prefix: str) -> Iterator[StoredBlob]:
        with self._translated_errors(), suppress(ResourceNotFoundError):
            blobs = self._container.list_blobs(
                name_starts_with=prefix, include=["metadata"], results_per_page=_BLOBS_PER_PAGE
            )
            # Accounts with a hierarchical namespace list folders, too.
            yield from (_stored(blob) for blob in blobs if not _is_folder(blob))

    def get(
        self, path: str, columns: Sequence[str] | None = None, etag: str | None = None
    ) -> pa.Table:
        """The table at the path; with `etag` only if it is still that one, else BlobChanged.

        A whole blob must have the MD5 stored with it; of some columns only the pages are checked.
        """
        condition: dict[str, Any] = _unchanged(etag) if etag else {}
        with self._translated_errors(path):
            download = self._container.download_blob(path, **condition)
            content = download.readall()
        md5 = download.properties.content_settings.content_md5 if columns is None else None
        if md5 and hashlib.md5(content, usedforsecurity=False).digest() != bytes(md5):
            raise BlobDamaged(
                f"{self.uri(path)}: its {len(content)} bytes do not have the MD5 stored with them;"
                " delete the blob and materialise the partition again"
            )
        return self._decode(path, content, columns)

    def put(self, path: str, table: pa.Table, replacing: StoredBlob | None) -> StoredBlob:
        """Store the table in one atomic put, if the blob is still `replacing` (None: no blob)."""
        content = _encode(table)
        fields = {name: text for name, text in table_fields(table).items() if text}
        fields["rows"] = str(table.num_rows)
        condition = (
            _unchanged(replacing.etag)
            if replacing
            else {"match_condition": MatchConditions.IfMissing}
        )
        return self._put(path, content, "application/vnd.apache.parquet", fields, condition)

    def put_bytes(self, path: str, content: bytes, content_type: str) -> StoredBlob:
        """Store a file that is no table, in one atomic put; whoever puts last wins."""
        return self._put(path, content, content_type, {}, {})

    def _put(
        self,
        path: str,
        content: bytes,
        content_type: str,
        fields: dict[str, str],
        condition: dict[str, Any],
    ) -> StoredBlob:
        md5 = hashlib.md5(content, usedforsecurity=False).digest()
        with self._translated_errors(path):
            answer = self._upload(
                self._container.get_blob_client(path),
                data=content,
                overwrite=True,
                metadata=fields,
                content_settings=ContentSettings(content_type, content_md5=bytearray(md5)),
                validate_content=True,
                **condition,
            )
        return StoredBlob(path, answer["etag"].strip('"'), len(content), fields)

    def _upload(self, blob: BlobClient, **upload: Any) -> dict[str, Any]:
        """Put first: a credential limited to one container need not be allowed to create it."""
        try:
            return blob.upload_blob(**upload)
        except ResourceNotFoundError as error:
            if getattr(error, "error_code", "") != "ContainerNotFound":
                raise
        with suppress(ResourceExistsError):
            self._container.create_container()
        return blob.upload_blob(**upload)

    def _decode(self, path: str, content: bytes, columns: Sequence[str] | None) -> pa.Table:
        try:
            with pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True) as file:
                # Arrow's threads may outlive the interpreter, which then aborts at its exit.
                table = file.read(columns, use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise BlobDamaged(
                f"{self.uri(path)}: not a whole Parquet file ({str(error).splitlines()[0]});"
                " delete the blob and materialise the partition again"
            ) from error
        if columns is None:
            return table
        if missing := set(columns) - set(table.column_names):
            raise StorageError(f"{self.uri(path)}: has no column {', '.join(sorted(missing))}")
        return table.select(list(columns))

    @contextmanager
    def _translated_errors(self, path: str = "") -> Iterator[None]:
        """One line for whatever Azure answers. Not chained: its own messages may hold a SAS."""
        try:
            yield
        except ResourceNotFoundError:
            raise PartitionMissing(f"{self.uri(path)}: there is no such blob") from None
        except AzureError as error:
            if getattr(error, "error_code", "") in _CHANGED:
                raise BlobChanged(f"{self.uri(path)}: written by somebody else meanwhile") from None
            raise StorageError(f"{self.uri(path)}: {_explain(error)}") from None


def _stored(blob: BlobProperties) -> StoredBlob:
    return StoredBlob(blob.name, blob.etag.strip('"'), blob.size, dict(blob.metadata or {}))


def _is_folder(blob: BlobProperties) -> bool:
    return (blob.metadata or {}).get("hdi_isfolder") == "true"


def _unchanged(etag: str) -> dict[str, Any]:
    return {"etag": etag, "match_condition": MatchConditions.IfNotModified}


def _encode(table: pa.Table) -> bytes:
    """A month of 1m candles takes 0.92 MB so, and 1.35 MB as pyarrow has it by itself."""
    times = [field.name for field in table.schema if pa.types.is_timestamp(field.type)]
    buffer = BytesIO()
    pq.write_table(
        table,
        buffer,
        compression="zstd",
        write_page_checksum=True,
        column_encoding=dict.fromkeys(times, "DELTA_BINARY_PACKED"),
        use_dictionary=[name for name in table.column_names if name not in times],
        dictionary_pagesize_limit=_DICTIONARY_BYTES,
    )
    return buffer.getvalue()


def _explain(error: AzureError) -> str:
    said = without_signature(str(error.message).strip().splitlines()[0])
    status = error.status_code if isinstance(error, HttpResponseError) else None
    if status in _REFUSED or isinstance(error, ClientAuthenticationError):
        return f"the storage account refused the credential ({said}); check AZURE_STORAGE_..."
    if status:
        full = "; is the disk of the emulator full?" if status == _SERVER_ERROR else ""
        return f"the storage account answered {status} ({said}){full}"
    return f"the storage account cannot be reached ({said})"
