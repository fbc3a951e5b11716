"""Folders that only their owner can enter."""

from contextlib import suppress
from pathlib import Path

PRIVATE = 0o700


def private_folder(path: Path) -> Path:
    """Create the folder if it is missing, make it private (mode 0700), and return it.

    A folder of another user keeps its mode, and so does one on a file system without modes.
    """
    path.mkdir(PRIVATE, parents=True, exist_ok=True)
    with suppress(PermissionError):
        path.chmod(PRIVATE)
    return path
