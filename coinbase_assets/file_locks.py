"""Locks on files. The operating system releases them when their process ends, even if killed."""

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from coinbase_assets.private_folders import PRIVATE

_SECONDS_BETWEEN_TRIES = 0.1


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


@contextmanager
def exclusive_within(
    path: Path, seconds: float, on_wait: Callable[[], object] = lambda: None
) -> Iterator[None]:
    """Hold the exclusive lock during the block; calls `on_wait`, once, if another holds it.

    Raises TimeoutError if the lock is not free within so many seconds.
    """
    give_up = time.monotonic() + seconds
    with open_lock(path) as file:
        if not try_exclusive(file):
            on_wait()
            while not try_exclusive(file):
                if time.monotonic() > give_up:
                    raise TimeoutError(f"{path} is locked")
                time.sleep(_SECONDS_BETWEEN_TRIES)
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
