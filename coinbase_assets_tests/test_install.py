"""What `install.sh` says, in one line, where it cannot install."""

import os
import shutil
import socket
import subprocess
import sys
import threading
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from coinbase_assets_tests.processes import PROJECT


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "a folder with spaces"
    folder.mkdir()
    for name in ("install.sh", "constraints.txt", "pyproject.toml"):
        shutil.copy(PROJECT / name, folder)
    return folder


def python_in_which(folder: Path, change: str) -> str:
    """A Python that executes `change` before the code that `-c` gives it."""
    python = folder / "python in a folder"
    python.write_text(
        f"#!/bin/sh\nexec '{sys.executable}' -c 'import sys; {change}; exec(sys.argv[2])' \"$@\"\n"
    )
    python.chmod(0o755)
    return str(python)


def refusal(checkout: Path, **environment: str) -> str:
    """The one line that `install.sh` prints."""
    command = ["sh", str(checkout / "install.sh")]
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line


def test_a_python_that_is_too_old_is_named_with_the_remedy(checkout: Path) -> None:
    python = python_in_which(checkout, "sys.version_info = (3, 10, 13)")
    assert refusal(checkout, PYTHON=python) == (
        f"Error: {python} is Python 3.10; set PYTHON to 3.11 or newer: PYTHON=python3.12 make run"
    )


def test_a_python_that_is_not_there_is_named_with_the_remedy(checkout: Path) -> None:
    assert refusal(checkout, PYTHON="python3.99").startswith("Error: python3.99 does not run; ")


@pytest.mark.parametrize("module", ["ensurepip", "venv"])
def test_debians_python_without_venv_is_told_which_package_is_missing(
    checkout: Path, module: str
) -> None:
    python = python_in_which(checkout, f'sys.modules["{module}"] = None')
    line = refusal(checkout, PYTHON=python)
    assert line.startswith(f"Error: {python} has no venv module; ")
    assert "apt install python3-venv" in line


def test_a_folder_that_cannot_be_written_to_is_named(checkout: Path) -> None:
    (checkout / ".venv").touch()
    line = refusal(checkout)
    assert line.startswith(f"Error: {checkout} cannot be written to; ")


@pytest.mark.soak
def test_a_proxy_is_used_and_named_where_it_does_not_work(checkout: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        asked: list[bytes] = []
        threading.Thread(target=_refuse_all, args=(proxy, asked), daemon=True).start()
        url = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        line = refusal(checkout, PIP_RETRIES="0", HTTPS_PROXY=url, https_proxy=url)
        proxy.shutdown(socket.SHUT_RDWR)
    assert line.startswith("Error: the packages cannot be installed, see ")
    assert line.endswith("set HTTPS_PROXY or correct it")
    assert asked[0].startswith(b"CONNECT ")
    assert (checkout / ".venv" / "install.log").read_text()


def _refuse_all(proxy: socket.socket, asked: list[bytes]) -> None:
    while True:
        try:
            connection, _ = proxy.accept()
        except OSError:
            return
        with connection:
            asked.append(connection.recv(1000))


def test_every_dependency_has_an_exact_version() -> None:
    needed = {Requirement(line).name for line in requires("coinbase-assets") or []}
    lines = (PROJECT / "constraints.txt").read_text().splitlines()
    exact = {line.partition("==")[0] for line in lines if "==" in line}
    assert needed - exact == {"coinbase-assets"}
