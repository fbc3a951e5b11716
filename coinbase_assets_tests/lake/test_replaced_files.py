"""Files are written whole or not at all, and nobody's link is followed."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from coinbase_assets.lake.replaced_files import replaced


@pytest.fixture(autouse=True)
def _umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


def write(file: Path, text: str = "new") -> None:
    with replaced(file) as part:
        part.write_text(text)


def test_replaced_file_has_usual_rights(tmp_path: Path) -> None:
    write(tmp_path / "eth.csv")
    assert (tmp_path / "eth.csv").read_text() == "new"
    assert (tmp_path / "eth.csv").stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["eth.csv"]


def test_replaced_is_written_where_nobody_else_can(tmp_path: Path) -> None:
    places = set[Path]()
    for _ in range(2):
        with replaced(tmp_path / "eth.csv") as part:
            part.write_text("new")
            assert part.parent.parent == tmp_path
            assert part.parent.stat().st_mode & 0o777 == 0o700
            places.add(part)
    assert len(places) == 2


@pytest.mark.parametrize("link", [".eth.csv.part", "eth.csv"])
def test_replaced_follows_no_link(link: str, tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / link).symlink_to(tmp_path / "theirs")
    write(tmp_path / "eth.csv")
    assert (tmp_path / "theirs").read_text() == "theirs"
    assert not (tmp_path / "eth.csv").is_symlink()
    assert (tmp_path / "eth.csv").read_text() == "new"


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_replaced_leaves_file_after_error(error: type[BaseException], tmp_path: Path) -> None:
    def fail_halfway() -> None:
        with replaced(tmp_path / "eth.csv") as part:
            part.write_text("half")
            raise error

    write(tmp_path / "eth.csv", "before")
    with pytest.raises(error):
        fail_halfway()
    assert (tmp_path / "eth.csv").read_text() == "before"
    assert os.listdir(tmp_path) == ["eth.csv"]
