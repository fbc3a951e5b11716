"""The blobs of any BlobSource as a pyarrow filesystem, which Polars, DuckDB and Dask read through.

pyarrow's own filesystem for Azure knows fewer forms of accounts and credentials than the SDK.

A query with LIMIT leaves reads behind: pyarrow's threads go on for a while. If one enters Python
while the process ends, the process aborts. So `close` waits for the reads under way, and the
process waits at its end for pyarrow to drop the filesystems that were read last.
"""

import atexit
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import pyarrow as pa
from pyarrow.fs import FileInfo, FileSelector, FileSystemHandler, FileType

from coinbase_assets.storage.blob_source import BlobSource
from coinbase_assets.storage.errors import BlobDamaged, StorageError
from coinbase_assets.storage.table_sizes import check_parquet

# Seconds after its last read in which a scan that nobody reads any more is expected to end.
_PATIENCE = 2.0


class BlobFileSystem(FileSystemHandler):
    """The read-only filesystem of a BlobSource: use it as `pyarrow.fs.PyFileSystem(...)`.

    A file is downloaded whole when it is opened: a month of 1m candles has less than 1 MB. Call
    `close` before the source closes.

    With `report`, it gets the error of a file that cannot be opened, and Arrow gets an empty file,
    which ends the scan: DuckDB can wait for ever for a scan that a Python error ends, because Arrow
    asks for the error's text in one thread while pyarrow's `to_reader` holds the GIL in another.

    Files whose paths are in `damage` cannot be opened; the text is why.
    """

    def __init__(
        self,
        source: BlobSource,
        report: Callable[[StorageError], None] | None = None,
        damage: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._source = source
        self._report = report
        self._damage = damage
        self._changed = threading.Condition()
        self._under_way = 0
        self._closed = False
        self._quiet_from = 0.0
        _filesystems.add(self)

    def close(self) -> None:
        """Stop opening files, and wait for the reads under way."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: not self._under_way)

    @property
    def may_be_scanned(self) -> bool:
        """Whether a scan that nobody reads any more may still go on."""
        return time.monotonic() < self._quiet_from

    def get_file_info(self, paths: list[str]) -> list[FileInfo]:
        return [self._info(path) for path in paths]

    def _info(self, path: str) -> FileInfo:
        for blob in self._source.list(path):
            if blob.path == path:
                return FileInfo(path, FileType.File, size=blob.size)
            if blob.path.startswith(f"{path.rstrip('/')}/"):
                return FileInfo(path, FileType.Directory)
        return FileInfo(path, FileType.NotFound)

    def get_file_info_selector(self, selector: FileSelector) -> list[FileInfo]:
        folder = f"{selector.base_dir.rstrip('/')}/" if selector.base_dir else ""
        blobs = self._source.list(folder)
        return [FileInfo(blob.path, FileType.File, size=blob.size) for blob in blobs]

    def open_input_file(self, path: str) -> pa.NativeFile:
        """Return the blob's content. Raises or reports StorageError, also for a damaged table."""
        try:
            content = self._read(path)
        except StorageError as error:
            if not self._report:
                raise
            self._report(error)
            content = b""
        # pyarrow's threads may free its own memory without Python.
        sink = pa.BufferOutputStream()
        sink.write(content)
        return pa.BufferReader(sink.getvalue())

    open_input_stream = open_input_file

    def _read(self, path: str) -> bytes:
        with self._reading():
            if path in self._damage:
                raise BlobDamaged(f"{self._source.uri}/{path}: {self._damage[path]}")
            content = self._source.get(path).content
            check_parquet(f"{self._source.uri}/{path}", content)
            return content

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._changed:
            if self._closed:
                raise StorageError(f"{self._source.uri}: the lake is closed; open it again")
            self._under_way += 1
        try:
            yield
        finally:
            with self._changed:
                self._under_way -= 1
                self._quiet_from = time.monotonic() + _PATIENCE
                self._changed.notify_all()

    def __eq__(self, other: object) -> bool:
        return self is other

    def __ne__(self, other: object) -> bool:
        return self is not other

    def __hash__(self) -> int:
        return id(self)

    def get_type_name(self) -> str:
        return "blobs"

    def normalize_path(self, path: str) -> str:
        return path

    def _refuse(self, *arguments: Any, **options: Any) -> Any:
        raise NotImplementedError("this filesystem is read-only")

    create_dir = delete_dir = delete_dir_contents = delete_root_dir_contents = _refuse
    delete_file = move = copy_file = open_output_stream = open_append_stream = _refuse


_filesystems = weakref.WeakSet[BlobFileSystem]()


@atexit.register
def _wait_for_abandoned_scans() -> None:
    """Close all filesystems, and wait until pyarrow has let go of those that were read last.

    If a global variable still holds a dataset that was read last, that takes all of _PATIENCE.
    """
    _close_all()
    while any(files.may_be_scanned for files in list(_filesystems)):
        time.sleep(0.01)


def _close_all() -> None:
    for filesystem in list(_filesystems):
        filesystem.close()
