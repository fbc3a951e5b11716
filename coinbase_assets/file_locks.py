"""Locks on files. The operating system releases them when their process ends, even if killed."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from coinbase_assets.private_folders import PRIVATE


def open_lock(path: Path) -> IO[bytes]:
    """Returns the lock file, open and not locked. Closing it releases the lock.

    Its folder is created, private, if it is missing.
    """
    path.parent.mkdir(PRIVATE, parents=True, exist_ok=True)
    return path.open("ab")


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Wait for the exclusive lock and hold it during the block."""
    with open_lock(path) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def share(file: IO[bytes]) -> None:
    """Wait for the shared lock and hold it until the file is closed."""
    fcntl.flock(file, fcntl.LOCK_SH)


def try_exclusive(file: IO[bytes]) -> bool:
    """Take the exclusive lock if it is free; returns whether it was."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_held(path: Path) -> bool:
    """Whether a process holds the exclusive lock."""
    if not path.exists():
        return False
    with open_lock(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
