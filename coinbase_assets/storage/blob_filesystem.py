"""The blobs of any BlobSource as a pyarrow filesystem, which Polars, DuckDB and Dask read through.

pyarrow's own filesystem for Azure knows fewer forms of accounts and credentials than the SDK, and
a process that ends while it reads is aborted.
"""

import threading
import weakref
from contextlib import suppress
from typing import Any

import pyarrow as pa
from pyarrow.fs import (
    FileInfo,
    FileSelector,
    FileSystemHandler,
    FileType,
    PyFileSystem,
    copy_files,
)

from coinbase_assets.storage.blob_source import BlobSource

# Seconds for the reads of others, which may keep a thread of pyarrow for longer.
_PATIENCE = 10.0


class _ReadOnly(FileSystemHandler):
    """What a filesystem to read from need not do."""

    def __eq__(self, other: object) -> bool:
        return self is other

    def __ne__(self, other: object) -> bool:
        return self is not other

    def get_type_name(self) -> str:
        return "blobs"

    def normalize_path(self, path: str) -> str:
        return path

    def _refuse(self, *arguments: Any, **options: Any) -> Any:
        raise NotImplementedError("this filesystem is read-only")

    create_dir = delete_dir = delete_dir_contents = delete_root_dir_contents = _refuse
    delete_file = move = copy_file = open_output_stream = open_append_stream = _refuse


class _Meeting(_ReadOnly):
    """Files that open only once all of pyarrow's threads for reading open one of them."""

    def __init__(self, threads: int) -> None:
        self._meeting = threading.Barrier(threads)

    def get_file_info(self, paths: list[str]) -> list[FileInfo]:
        return [FileInfo(path, FileType.Directory) for path in paths]

    def get_file_info_selector(self, selector: FileSelector) -> list[FileInfo]:
        return [_file_info(str(number), 0) for number in range(self._meeting.parties)]

    def create_dir(self, path: str, recursive: bool) -> None:
        pass

    def open_input_stream(self, path: str) -> pa.NativeFile:
        with suppress(threading.BrokenBarrierError):
            self._meeting.wait(_PATIENCE)
        return _native(b"")

    open_input_file = open_input_stream

    def open_output_stream(self, path: str, metadata: object) -> pa.NativeFile:
        return pa.BufferOutputStream()


def _wait_for_queued_reads() -> None:
    """Return when pyarrow's threads have taken up all reads queued by now.

    They take them in order, so they are done with those when all threads meet afterwards.
    """
    source, target = (PyFileSystem(_Meeting(pa.io_thread_count())) for _ in range(2))
    copy_files("", "", source, target)


class BlobFileSystem(_ReadOnly):
    """The read-only filesystem of a BlobSource: use it as `pyarrow.fs.PyFileSystem(...)`.

    A file is downloaded whole when it is opened: a month of 1m candles has less than 1 MB. Call
    `close` before the source closes. At the latest, the end of the process calls it.
    """

    def __init__(self, source: BlobSource) -> None:
        self._source = source
        self._closed = threading.Event()
        self.close = weakref.finalize(self, _end_reads, self._closed)

    def get_file_info(self, paths: list[str]) -> list[FileInfo]:
        return [self._info(path) for path in paths]

    def _info(self, path: str) -> FileInfo:
        for blob in self._source.list(path):
            if blob.path == path:
                return _file_info(path, blob.size)
            if blob.path.startswith(f"{path.rstrip('/')}/"):
                return FileInfo(path, FileType.Directory)
        return FileInfo(path, FileType.NotFound)

    def get_file_info_selector(self, selector: FileSelector) -> list[FileInfo]:
        folder = f"{selector.base_dir.rstrip('/')}/" if selector.base_dir else ""
        return [_file_info(blob.path, blob.size) for blob in self._source.list(folder)]

    def open_input_file(self, path: str) -> pa.NativeFile:
        """Return the blob's content. After `close` it is empty, which pyarrow refuses to read."""
        return _native(b"" if self._closed.is_set() else self._source.get(path).content)

    open_input_stream = open_input_file


def _end_reads(closed: threading.Event) -> None:
    """Let reads end that nobody waits for any more, as a query with LIMIT leaves them.

    A thread of pyarrow that comes into Python while the process ends would abort it.
    """
    closed.set()
    _wait_for_queued_reads()


def _native(content: bytes) -> pa.NativeFile:
    """Return a file in pyarrow's own memory, which its threads may free without Python."""
    sink = pa.BufferOutputStream()
    sink.write(content)
    return pa.BufferReader(sink.getvalue())


def _file_info(path: str, size: int) -> FileInfo:
    return FileInfo(path, FileType.File, size=size)
