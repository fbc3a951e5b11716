"""Tables as Parquet blobs: encoded, decoded and validated. A BlobSource moves the bytes.

A table's fields (see table_metadata.py) are stored in the file and in the blob's metadata, so that
they are known without downloading the blob.
"""

import hashlib
import os
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq

from coinbase_assets.storage.blob_source import BlobSource, Download
from coinbase_assets.storage.concurrency import map_concurrently
from coinbase_assets.storage.errors import BlobDamaged, StorageError
from coinbase_assets.storage.stored_blob import StoredBlob
from coinbase_assets.storage.table_sizes import MOST_BYTES, check_parquet, not_parquet, table_size
from coinbase_assets.table_metadata import Fields, all_fields

# Larger dictionaries save no space: most values of such columns occur only once.
_DICTIONARY_BYTES = 1 << 15


class ParquetStore:
    """The tables in a BlobSource. Every method raises StorageError or a subclass of it."""

    def __init__(self, source: BlobSource) -> None:
        self._source = source
        self.container_uri = source.uri

    def uri(self, path: str) -> str:
        """The URI of a blob."""
        return f"{self.container_uri}/{path}"

    def find(self, paths: Collection[str]) -> dict[str, StoredBlob]:
        """Return the blobs that exist at these paths, by path."""
        wanted = set(paths)
        if not wanted:
            return {}
        prefix = os.path.commonprefix(list(wanted))  # noqa: RUF071 (names, not folders)
        return self._with_fields(blob for blob in self._source.list(prefix) if blob.path in wanted)

    def find_partitions(self, template: str, keys: Collection[str]) -> dict[str, StoredBlob]:
        """Return the existing blobs of these partitions, by partition key.

        `template` is a blob's path with `{partition}` in place of the key.
        """
        keys_by_path = {template.format(partition=key): key for key in keys}
        return {keys_by_path[path]: blob for path, blob in self.find(keys_by_path).items()}

    def list_partitions(self, prefix: str) -> dict[str, StoredBlob]:
        """Return the blobs whose paths start with the prefix, by partition key.

        The key is the value in the name of the blob's folder: 2024-01 in `.../month=2024-01/`.
        """
        return {path.split("/")[-2].split("=")[1]: blob for path, blob in self.list(prefix).items()}

    def list(self, prefix: str) -> dict[str, StoredBlob]:
        """Return the blobs whose paths start with the prefix, by path, sorted."""
        return self._with_fields(self._source.list(prefix))

    def _with_fields(self, blobs: Iterable[StoredBlob]) -> dict[str, StoredBlob]:
        """Return the blobs by path, with fields that can be read.

        Files whose metadata is missing or damaged are read for them.
        """
        listed = list(blobs)
        found = {blob.path: _with_readable_fields(blob) for blob in listed}
        bare = [found[blob.path] for blob in listed if _lacks_fields(blob, found[blob.path])]
        return {**found, **{blob.path: blob for blob in map_concurrently(self._read_fields, bare)}}

    def _read_fields(self, blob: StoredBlob) -> StoredBlob:
        with suppress(BlobDamaged):
            table = self._decode(blob.path, self._source.get(blob.path).content, None, ())
            return _with_readable_fields(replace(blob, fields=_fields(table)))
        return blob

    def get(
        self,
        path: str,
        columns: Sequence[str] | None = None,
        etag: str | None = None,
        optional: Collection[str] = (),
    ) -> pa.Table:
        """Return the table at the path, or only the given columns of it, in their order.

        Columns in `optional` may be missing from the blob; the table then lacks them. With `etag`,
        raises BlobChanged if the blob has another ETag. A whole table is checked against the
        blob's MD5, single columns against the checksums of their pages: raises BlobDamaged.
        """
        download = self._source.get(path, etag)
        if columns is None:
            self._check_md5(path, download)
        return self._decode(path, download.content, columns, optional)

    def put(self, path: str, table: pa.Table, replacing: StoredBlob | None) -> StoredBlob:
        """Store the table in one atomic step and return its blob.

        Raises BlobChanged if the stored blob is not `replacing`; for None, if any blob exists.
        Raises StorageError if the table takes more memory than `get` accepts.
        """
        content = _encode(table)
        if (size := table_size(content)) > MOST_BYTES:
            raise StorageError(
                f"{self.uri(path)}: the table takes {size:,} bytes or more, but a partition"
                f" may take {MOST_BYTES:,}; store it in several partitions"
            )
        content_type = "application/vnd.apache.parquet"
        return self._source.put(path, content, content_type, _fields(table), replacing)

    def put_bytes(self, path: str, content: bytes, content_type: str) -> StoredBlob:
        """Store a file that is not a table in one atomic step, replacing any file there."""
        return self._source.put(path, content, content_type, {}, overwrite=True)

    def _check_md5(self, path: str, download: Download) -> None:
        actual = hashlib.md5(download.content, usedforsecurity=False).digest()
        if download.md5 and actual != download.md5:
            raise BlobDamaged(
                f"{self.uri(path)}: the {len(download.content)} bytes do not match the stored MD5;"
                " delete the blob and materialise the partition again"
            )

    def _decode(
        self, path: str, content: bytes, columns: Sequence[str] | None, optional: Collection[str]
    ) -> pa.Table:
        check_parquet(self.uri(path), content)
        try:
            with pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True) as file:
                # Arrow's own threads can outlive the interpreter, which then aborts at exit.
                table = file.read(columns, use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise not_parquet(self.uri(path), error) from error
        if columns is None:
            return table
        if missing := {*columns} - {*table.column_names, *optional}:
            raise StorageError(f"{self.uri(path)}: has no column {', '.join(sorted(missing))}")
        return table.select([name for name in columns if name in table.column_names])


def _fields(table: pa.Table) -> dict[str, str]:
    """Return the fields that are stored with the blob, where a value cannot be empty."""
    fields = {name: text for name, text in all_fields(table).items() if text}
    return {**fields, "rows": str(table.num_rows)}


def _with_readable_fields(blob: StoredBlob) -> StoredBlob:
    return replace(blob, fields=Fields(blob.fields, blob.path, BlobDamaged))


def _lacks_fields(listed: StoredBlob, readable: StoredBlob) -> bool:
    is_damaged = readable.fields != listed.fields
    return listed.path.endswith(".parquet") and (is_damaged or "rows" not in readable.fields)


def _encode(table: pa.Table) -> bytes:
    """Return the Parquet file: 0.92 MB for a month of 1m candles, 1.35 MB by pyarrow's defaults."""
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
