"""`.env` as editors and shells of any system write it: read rightly, or refused with its line."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from coinbase_assets.environment.env_file import load_env_file

NAME = "COINBASE_CONTAINER"
SECRET = "geheim"


@pytest.fixture(autouse=True)
def untouched_environment() -> Iterator[None]:
    with mock.patch.dict(os.environ):
        yield


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / ".env"


def refusal(file: Path) -> str:
    """Return the one line that refuses the file, without the file's values."""
    with pytest.raises(ValueError, match=r"\.env") as refused:
        load_env_file(file)
    message = str(refused.value)
    assert message.startswith(str(file))
    assert "\n" not in message
    assert SECRET not in message
    return message.removeprefix(str(file))


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "ascii"]
)
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_env_file_encodings_are_read(file: Path, encoding: str, newline: str) -> None:
    mark = "\ufeff" if encoding in ("utf-16-le", "utf-16-be") else ""
    text = f"{mark}# first\n{NAME}=right\nOTHER=a\n".replace("\n", newline)
    file.write_bytes(text.encode(encoding))
    load_env_file(file)
    assert os.environ[NAME] == "right"
    assert os.environ["OTHER"] == "a"


@pytest.mark.parametrize(
    "line",
    [
        f"{NAME}=right",
        f"export {NAME}=right",
        f"  {NAME} = right  ",
        f"{NAME}='right'",
        f'{NAME}="right"  # why',
        f"{NAME}=right # why",
        f"{NAME}=right\nNO_VALUE",
        f"{NAME}=wrong\n{NAME}=right",
        f"PART=ght\n{NAME}=ri${{PART}}",
    ],
)
def test_env_file_forms_are_read(file: Path, line: str) -> None:
    file.write_text(f"\n{line}\n")
    load_env_file(file)
    assert os.environ[NAME] == "right"


def test_env_file_leaves_environment_as_it_is(file: Path) -> None:
    file.write_text(f"{NAME}=from-file")
    os.environ[NAME] = "from-environment"
    load_env_file(file)
    assert os.environ[NAME] == "from-environment"


@pytest.mark.parametrize(
    ("content", "refused"),
    [
        (f"A=1\nB={SECRET}é\n".encode("latin-1"), ", line 2: not utf-8 text; save it as UTF-8"),
        (
            f"A=1\n\n#\u20ac\nB={SECRET}".encode("cp1252"),
            ", line 3: not utf-8 text; save it as UTF-8",
        ),
        (f"A=1\nB={SECRET}".encode("utf-16")[:-1], ", line 2: not utf-16 text; save it as UTF-8"),
        (f"A=1\nB={SECRET}\0".encode(), ", line 2: a NUL byte; save the file as UTF-8"),
        (f"A={SECRET}".encode("utf-16-le"), ", line 1: a NUL byte; save the file as UTF-8"),
        (f"A=1\n\n\nB: {SECRET}\n".encode(), ", line 4: not a setting; write NAME=VALUE with"),
        (f"A=1\nB='{SECRET}\n".encode(), ", line 2: not a setting; write NAME=VALUE with"),
        (f"set B={SECRET}\r\n".encode(), ", line 1: not a setting; write NAME=VALUE with"),
        (f"={SECRET}\n".encode(), ", line 1: not a setting; write NAME=VALUE with"),
    ],
)
def test_env_file_unreadable_line_is_named(file: Path, content: bytes, refused: str) -> None:
    file.write_bytes(content)
    assert refusal(file).startswith(refused)


def test_env_file_may_be_missing(file: Path) -> None:
    load_env_file(file)


def test_env_file_folder_is_refused(file: Path) -> None:
    file.mkdir()
    assert refusal(file) == ": not a file; move it away, or put a file in its place"


def test_env_file_pipe_is_refused(file: Path) -> None:
    os.mkfifo(file)
    assert refusal(file).startswith(": not a file;")


def test_env_file_dangling_link_is_refused(file: Path) -> None:
    file.symlink_to("moved")
    assert refusal(file).startswith(": a link to moved, which does not exist; correct or remove it")


def test_env_file_link_to_itself_is_refused(file: Path) -> None:
    file.symlink_to(file)
    assert refusal(file).startswith(": cannot be read (Too many levels of symbolic links)")


def test_env_file_without_permission_is_refused() -> None:
    """Root reads every file, so a process of another user has to try, in a folder it can enter."""
    code = """import os, sys
from pathlib import Path
from coinbase_assets.environment.env_file import load_env_file
os.geteuid() or os.setuid(65534)
try:
    load_env_file(Path(sys.argv[1]))
except ValueError as error:
    print(error)
"""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        file = Path(folder, ".env")
        file.write_text(f"A={SECRET}")
        file.chmod(0)
        command = [sys.executable, "-c", code, str(file)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout == (
        f"{file}: cannot be read (Permission denied); change its permissions or remove it\n"
    )
