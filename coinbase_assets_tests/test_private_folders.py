"""Folders that only their owner can enter."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from coinbase_assets.private_folders import private_folder


@pytest.fixture(autouse=True)
def _usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_new_folder_is_private(tmp_path: Path) -> None:
    assert mode(private_folder(tmp_path / "above" / "folder")) == 0o700


def test_existing_folder_becomes_private(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert mode(private_folder(tmp_path / "folder")) == 0o700
