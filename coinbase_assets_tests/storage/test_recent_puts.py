"""Files that this process has put are known without a download, as long as nobody changes them."""

from dataclasses import replace

import pytest

from coinbase_assets.storage.recent_puts import RecentPuts
from coinbase_assets.storage.stored_blob import StoredBlob

URI = "https://account.blob.core.windows.net/lake/a.parquet"
BLOB = StoredBlob("a.parquet", "0x1", 3, {"rows": "1"}, "00")


@pytest.fixture
def recent() -> RecentPuts:
    recent = RecentPuts(10)
    recent.keep(URI, BLOB, b"abc")
    return recent


def test_a_listed_file_is_known(recent: RecentPuts) -> None:
    assert recent.get(URI, replace(BLOB, fields={})) == b"abc"


@pytest.mark.parametrize("change", [{"etag": "0x2"}, {"md5": "01"}, {"md5": ""}])
def test_a_changed_file_is_not_known(recent: RecentPuts, change: dict[str, str]) -> None:
    assert recent.get(URI, replace(BLOB, **change)) is None  # type: ignore[arg-type]


def test_a_file_elsewhere_is_not_known(recent: RecentPuts) -> None:
    assert recent.get(URI.replace("lake", "other"), BLOB) is None


def test_the_oldest_files_are_forgotten(recent: RecentPuts) -> None:
    newer = replace(BLOB, etag="0x2")
    for _ in range(3):
        recent.keep(URI, newer, b"1234567")
    assert recent.get(URI, BLOB) == b"abc"
    recent.keep(URI, replace(BLOB, etag="0x3"), b"8")
    assert recent.get(URI, BLOB) is None
    assert recent.get(URI, newer) == b"1234567"


def test_a_file_that_is_too_long_is_not_kept(recent: RecentPuts) -> None:
    recent.keep(URI, replace(BLOB, etag="0x2"), b"12345678901")
    assert recent.get(URI, replace(BLOB, etag="0x2")) is None
