"""`make compat`: the tests of `make test` on every Python here, with three sets of versions.

Pinned are the versions of constraints.txt, lowest the bounds of pyproject.toml, and newest whatever
the package index has. The reports of the tests are kept in test-artifacts/compat.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from coinbase_assets_tests.processes import PROJECT

RESOLUTIONS = {
    "pinned": ["--constraint", "constraints.txt"],
    "lowest": ["--resolution", "lowest-direct"],
    "newest": [],
}
REPORTS = PROJECT / "test-artifacts" / "compat"


def find_python(version: str) -> Path | None:
    """A Python of this version, such as 3.12, on the PATH or among pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    folders = [*map(Path, os.get_exec_path()), *pyenv.glob(f"{version}.*/bin")]
    programs = (folder / f"python{version}" for folder in folders)
    return next((program for program in programs if _runs(program)), None)


def _runs(program: Path) -> bool:
    """pyenv puts programs on the PATH that end with an error until their version is chosen."""
    return program.exists() and not subprocess.run([program, "-V"], capture_output=True).returncode


def install(python: Path, resolution: str, folder: Path) -> None:
    """Raises CalledProcessError with what uv says."""
    _uv("venv", "--python", python, folder)
    chosen = RESOLUTIONS[resolution]
    _uv("pip", "install", "--system-certs", "--python", folder, *chosen, "--editable", ".[dev]")


def _uv(*arguments: str | Path) -> str:
    """Return what uv prints."""
    command = [Path(sys.executable).with_name("uv"), "--quiet", *arguments]
    return subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True).stdout


def run_tests(folder: Path, report: Path) -> tuple[bool, str]:
    """Whether they pass, and the last line of pytest's report, which is kept in a file."""
    with report.open("w") as file:
        command: list[str | Path] = [folder / "bin" / "pytest", "-q", "-m", "not soak"]
        tests = subprocess.run(command, cwd=PROJECT, stdout=file, stderr=subprocess.STDOUT)
    return tests.returncode == 0, report.read_text().strip().splitlines()[-1]


def check(python: Path, version: str, resolution: str, tried: dict[str, str]) -> tuple[bool, str]:
    """Return whether all is well, and how it went, in a line.

    `tried` has the resolutions tested on this Python, by the versions that they installed.
    """
    with tempfile.TemporaryDirectory() as name:
        try:
            install(python, resolution, Path(name))
        except subprocess.CalledProcessError as error:
            return False, f"not installed: {error.stderr.strip().splitlines()[-1]}"
        same = tried.setdefault(_uv("pip", "freeze", "--python", name), resolution)
        if same != resolution:
            return True, f"the same versions as {same}"
        return run_tests(Path(name), REPORTS / f"{version}-{resolution}.txt")


def main(versions: list[str]) -> int:
    REPORTS.mkdir(parents=True, exist_ok=True)
    failed = False
    for version in versions:
        python = find_python(version)
        if not python:
            print(f"{version}: not run, no python{version} here", flush=True)
            continue
        tried: dict[str, str] = {}
        for resolution in RESOLUTIONS:
            passed, line = check(python, version, resolution, tried)
            failed |= not passed
            print(f"{version} {resolution}: {line}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
