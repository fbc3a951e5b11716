"""File locks that the operating system releases when their process ends, however it ends."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


def open_lock(path: Path) -> IO[bytes]:
    """The lock file, open and not locked; closing it releases whatever was locked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("ab")


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock alone; waits for it."""
    with open_lock(path) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def share(file: IO[bytes]) -> None:
    """Hold the lock together with others who share it; waits for one who holds it alone."""
    fcntl.flock(file, fcntl.LOCK_SH)


def try_exclusive(file: IO[bytes]) -> bool:
    """Hold the lock alone if nobody else holds it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_held(path: Path) -> bool:
    """Whether a process holds the lock alone."""
    if not path.exists():
        return False
    with open_lock(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
