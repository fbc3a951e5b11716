"""What `install.sh` says, in one line, where it cannot install."""

import os
import re
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
    for name in ("install.sh", "constraints.txt", "pyproject.toml", "README.md", "LICENSE"):
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


def test_every_exact_version_has_a_hash_and_no_address() -> None:
    text = (PROJECT / "constraints.txt").read_text()
    _, *packages = re.split(r"^(?=[a-z])", text, flags=re.MULTILINE)
    assert all(re.search("--hash=sha256:[0-9a-f]{64}", package) for package in packages)
    assert {"uv", "setuptools"} <= {package.partition("==")[0] for package in packages}
    assert "://" not in text


@pytest.mark.soak
@pytest.mark.parametrize("package", ["uv", "setuptools", "rich"])
def test_a_package_with_another_hash_is_not_installed(checkout: Path, package: str) -> None:
    """pip installs uv, the build of the project setuptools, and uv everything else."""
    constraints = checkout / "constraints.txt"
    changed = re.sub(
        rf"^{package}==.*?[^\\]$",
        lambda lines: re.sub("sha256:.{8}", "sha256:" + "0" * 8, lines[0]),
        constraints.read_text(),
        flags=re.MULTILINE | re.DOTALL,
    )
    constraints.write_text(changed)
    assert refusal(checkout).startswith("Error: the packages cannot be installed, see ")
    assert f"{package}==" in (checkout / ".venv" / "install.log").read_text()
    assert not list((checkout / ".venv").glob(f"lib/*/site-packages/{package}"))
