"""`make compat` must say which Pythons it could not try, and try those that run."""

import os
import sys
from pathlib import Path

import pytest

from coinbase_assets_tests.compat import find_python, main

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


def test_a_python_that_is_not_here_is_listed_as_not_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["2.99"]) == 0
    assert capsys.readouterr().out == "2.99: not run, no python2.99 here\n"


def test_a_python_that_does_not_run_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shim, working = tmp_path / "shims" / f"python{VERSION}", tmp_path / "bin" / f"python{VERSION}"
    shim.parent.mkdir()
    working.parent.mkdir()
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    working.symlink_to(sys.executable)
    monkeypatch.setenv("PATH", f"{shim.parent}{os.pathsep}{working.parent}")
    assert find_python(VERSION) == working


def test_pyenv_s_pythons_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = tmp_path / "versions" / f"{VERSION}.1" / "bin" / f"python{VERSION}"
    installed.parent.mkdir(parents=True)
    installed.symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert find_python(VERSION) == installed
