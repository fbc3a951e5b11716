"""Tables as Parquet blobs: encoded, decoded and validated. A BlobSource moves the bytes.

A table's fields (see table_metadata.py) are stored in the file and in the blob's metadata, so that
they are known without downloading the blob. The file counts. The metadata is believed only if it
names the path, the size and the MD5 of the blob that was listed; otherwise the file is read. Files
of a lake name its id, and are damaged where another lake is (see lake_ids.py).
"""

import hashlib
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType

import pyarrow as pa

from coinbase_assets.plain_text import shown
from coinbase_assets.storage.blob_rules import AnyTable, BlobRules
from coinbase_assets.storage.blob_source import BlobSource, Download
from coinbase_assets.storage.concurrency import map_concurrently
from coinbase_assets.storage.errors import BlobChanged, BlobDamaged, PartitionMissing, StorageError
from coinbase_assets.storage.lake_ids import LakeIds
from coinbase_assets.storage.pandas_tables import index_columns
from coinbase_assets.storage.parquet_encoding import ParquetOptions, decode, encode
from coinbase_assets.storage.recent_puts import RecentPuts
from coinbase_assets.storage.stored_blob import StoredBlob
from coinbase_assets.storage.table_sizes import check_parquet, not_parquet, table_size
from coinbase_assets.table_metadata import Fields, all_fields, with_fields

_CONTENT_TYPE = "application/vnd.apache.parquet"
DAMAGED = "damaged/"
"""The folder that keeps damaged files which were replaced."""
_MOST_OF_DAMAGE = 200
_NO_FIELDS: Mapping[str, str] = MappingProxyType({})
# Half a year of days of 1m candles.
_RECENT = RecentPuts(8 * 2**20)
_OF_OTHER_LAKE = "it belongs to another lake, whose id {} has no mark in lakes/"


class ParquetStore:
    """The tables in a BlobSource. Every method raises StorageError or a subclass of it.

    A file that breaks the `rules` is damaged. It counts as missing, and the first put keeps it in
    the folder DAMAGED.
    """

    def __init__(
        self,
        source: BlobSource,
        rules: BlobRules | None = None,
        options: ParquetOptions | None = None,
    ) -> None:
        self._source = source
        self._options = options or ParquetOptions()
        self._rules = rules or AnyTable()
        self._lakes = LakeIds(source, self._rules)
        self._read: dict[tuple[str, str], StoredBlob] = {}
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
        return _intact(self._survey(b for b in self._source.list(prefix) if b.path in wanted))

    def find_partitions(self, template: str, keys: Collection[str]) -> dict[str, StoredBlob]:
        """Return the existing blobs of these partitions, by partition key.

        `template` is a blob's path with `{partition}` in place of the key.
        """
        keys_by_path = {template.format(partition=key): key for key in keys}
        return {keys_by_path[path]: blob for path, blob in self.find(keys_by_path).items()}

    def list(self, prefix: str) -> dict[str, StoredBlob]:
        """Return the blobs whose paths start with the prefix, by path, sorted."""
        return _intact(self.survey(prefix))

    def survey(self, prefix: str) -> dict[str, StoredBlob]:
        """Return the same as `list`, and damaged blobs, too."""
        return self._survey(self._source.list(prefix))

    def _survey(self, blobs: Iterable[StoredBlob]) -> dict[str, StoredBlob]:
        """Return the blobs by path. Files whose metadata is not believed are read."""
        listed = list(blobs)
        self._lakes.learn(listed)
        found = {blob.path: _with_readable_fields(blob) for blob in listed}
        doubted = [
            found[blob.path]
            for blob in listed
            if blob.path.endswith(".parquet")
            and not self._is_believed(blob, found[blob.path].fields)
        ]
        return {**found, **{blob.path: blob for blob in map_concurrently(self.examine, doubted)}}

    def _is_believed(self, blob: StoredBlob, readable: Mapping[str, str]) -> bool:
        """Whether the blob's metadata is that of its file; `readable` are its readable fields."""
        described = {"path": blob.path, "bytes": str(blob.size), "md5": blob.md5}
        return (
            readable == blob.fields
            and "rows" in readable
            and all(readable.get(name, text) in (text, None) for name, text in described.items())
            and self._rules.may_describe(blob.path, readable)
            and self._lakes.trusts(blob)
        )

    def examine(self, blob: StoredBlob) -> StoredBlob:
        """Return the blob as its file says, which is read, once for each ETag."""
        key = (blob.path, blob.etag)
        if key not in self._read and not blob.archived:
            self._read[key] = self._examined(blob)
        return self._read.get(key, blob)

    def _examined(self, blob: StoredBlob) -> StoredBlob:
        try:
            download = self._source.get(blob.path)
            self._check_md5(blob.path, download)
            table = self._decode(blob.path, download.content, None, ())
        except PartitionMissing:
            return replace(blob, damage="deleted meanwhile")
        except BlobDamaged as error:
            damage = str(error).removeprefix(f"{self.uri(blob.path)}: ")
            return replace(_with_readable_fields(blob), damage=damage)
        fields = {**_fields(table), **_description(blob.path, download.content)}
        read = _with_readable_fields(replace(blob, fields=fields))
        self._lakes.learn([read])
        foreign = (
            "" if self._lakes.trusts(read) else _OF_OTHER_LAKE.format(shown(fields["lake"], 40))
        )
        damage = self._rules.find_damage(blob.path, table) or foreign
        return replace(read, damage=damage, is_outdated=not self._is_believed(blob, blob.fields))

    def distrust(self, blob: StoredBlob) -> None:
        """Drop the blob's metadata, so that everybody reads its file.

        Does nothing if another writer has changed it meanwhile.
        """
        with suppress(BlobChanged):
            content = self._source.get(blob.path, blob.etag).content
            self._source.put(blob.path, content, _CONTENT_TYPE, {}, blob)

    def restore_metadata(self, blob: StoredBlob) -> None:
        """Store the blob again, with metadata that belongs to its bytes.

        Does nothing if another writer has changed it meanwhile.
        """
        with suppress(BlobChanged):
            content = self._source.get(blob.path, blob.etag).content
            self._source.put(blob.path, content, _CONTENT_TYPE, blob.fields, blob)

    def get(
        self,
        path: str,
        columns: Sequence[str] | None = None,
        etag: str | None = None,
        optional: Collection[str] = (),
        *,
        with_index: bool = False,
    ) -> pa.Table:
        """Return the table at the path, or only the given columns of it, in their order.

        Columns in `optional` may be missing from the blob; the table then lacks them. Perhaps with
        the columns of a stored DataFrame's index, which come last. With `etag`,
        raises BlobChanged if the blob has another ETag. A whole table is checked against the
        blob's MD5, single columns against the checksums of their pages: raises BlobDamaged.
        """
        download = self._source.get(path, etag)
        if columns is None:
            self._check_md5(path, download)
        return self._decode(path, download.content, columns, optional, with_index)

    def get_listed(self, blob: StoredBlob) -> pa.Table:
        """Return the table of a listed blob; what this process has put is not downloaded."""
        content = _RECENT.get(self.uri(blob.path), blob)
        return self._decode(blob.path, content, None, ()) if content else self.get(blob.path)

    def put(self, path: str, table: pa.Table, replacing: StoredBlob | None) -> StoredBlob:
        """Store the table in one atomic step and return its blob.

        Raises BlobChanged if the stored blob is not `replacing`; for None, if any blob exists that
        is not damaged. Raises StorageError if the table takes more memory than `get` accepts.
        """
        if self._rules.is_of_lake(path):
            table = with_fields(table, {"lake": self._lakes.own(self._survey)})
        table = self._rules.seal(path, table)
        content = self._encode(path, table)
        most = self._options.most_bytes
        if (size := table_size(content, most)) > most:
            raise StorageError(
                f"{self.uri(path)}: the table takes {size:,} bytes or more, but a partition"
                f" may take {most:,}; store it in several partitions"
            )
        fields = {**_fields(table), **_description(path, content)}
        try:
            stored = self._source.put(path, content, _CONTENT_TYPE, fields, replacing)
            _RECENT.keep(self.uri(path), stored, content)
            return stored
        except BlobChanged:
            damaged = self.survey(path).get(path)
            if replacing or not damaged or not damaged.damage:
                raise
        self._keep(damaged)
        return self._source.put(path, content, _CONTENT_TYPE, fields, damaged)

    def _keep(self, damaged: StoredBlob) -> None:
        """Store a copy of a damaged file, with the reason, under the time and its path."""
        kept = f"{DAMAGED}{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}/{damaged.path}"
        content = self._source.get(damaged.path).content
        reason = shown(damaged.damage, _MOST_OF_DAMAGE).encode("ascii", "replace").decode()
        self._source.put(kept, content, _CONTENT_TYPE, {"damage": reason}, overwrite=True)

    def put_bytes(
        self, path: str, content: bytes, content_type: str, fields: Mapping[str, str] = _NO_FIELDS
    ) -> StoredBlob:
        """Store a file that is not a table in one atomic step, replacing any file there."""
        return self._source.put(path, content, content_type, fields, overwrite=True)

    def _check_md5(self, path: str, download: Download) -> None:
        actual = hashlib.md5(download.content, usedforsecurity=False).digest()
        if download.md5 and actual != download.md5:
            raise BlobDamaged(
                f"{self.uri(path)}: the {len(download.content)} bytes do not match the stored MD5;"
                " materialise the partition again"
            )

    def _encode(self, path: str, table: pa.Table) -> bytes:
        try:
            return encode(table, self._options)
        except StorageError as error:
            raise StorageError(f"{self.uri(path)}: {error}") from error

    def _decode(
        self,
        path: str,
        content: bytes,
        columns: Sequence[str] | None,
        optional: Collection[str],
        with_index: bool = False,
    ) -> pa.Table:
        check_parquet(self.uri(path), content, self._options.most_bytes)
        try:
            table = decode(content, columns, with_index=with_index)
        except (pa.ArrowException, OSError) as error:
            raise not_parquet(self.uri(path), error) from error
        if columns is None:
            return table
        if missing := {*columns} - {*table.column_names, *optional}:
            raise StorageError(f"{self.uri(path)}: has no column {', '.join(sorted(missing))}")
        wanted = [*columns, *(index_columns(table.schema) if with_index else [])]
        return table.select([name for name in dict.fromkeys(wanted) if name in table.column_names])


def _fields(table: pa.Table) -> dict[str, str]:
    """Return the fields that are stored with the blob, where a value cannot be empty."""
    fields = {name: text for name, text in all_fields(table).items() if text}
    return {**fields, "rows": str(table.num_rows)}


def _with_readable_fields(blob: StoredBlob) -> StoredBlob:
    return replace(blob, fields=Fields(blob.fields, blob.path, BlobDamaged))


def _intact(blobs: dict[str, StoredBlob]) -> dict[str, StoredBlob]:
    return {path: blob for path, blob in blobs.items() if not blob.damage}


def _description(path: str, content: bytes) -> dict[str, str]:
    """Return the fields by which a blob's metadata is known to belong to its bytes."""
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return {"path": path, "bytes": str(len(content)), "md5": md5}
