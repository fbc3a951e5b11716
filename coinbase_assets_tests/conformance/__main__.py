"""`make conformance`: Dagster's own tests of storages, against those of `dagster.yaml`.

The tests come with the source distribution of the installed version of Dagster, which pip downloads
into build/conformance. `--stock` runs them against Dagster's own storages, for comparison.
"""

import os
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

from coinbase_assets_tests.conformance.plugin import STOCK
from coinbase_assets_tests.processes import PROJECT

FOLDER = PROJECT / "build" / "conformance"
SUITES = ("test_event_log.py", "test_run_storage.py", "test_schedule_storage.py")
# The same files test storages that `dagster.yaml` does not name.
OTHERS = "not InMemory and not Consolidated and not Legacy"


def download(dagster: str) -> Path:
    """Return the folder of this version's tests, downloaded unless it is there."""
    source = FOLDER / f"dagster-{dagster}"
    if not source.exists():
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        chosen = ["--no-binary", "dagster", "--dest", str(FOLDER), f"dagster=={dagster}"]
        subprocess.run([*pip, *chosen], check=True)
        with tarfile.open(FOLDER / f"dagster-{dagster}.tar.gz") as archive:
            tests = [one for one in archive if "/dagster_tests/" in one.name]
            archive.extractall(FOLDER, members=tests, filter="data")
    return source


def run(source: Path, stock: bool, options: list[str]) -> int:
    """Run the tests in their own folder, and return pytest's exit status."""
    suites = [f"dagster_tests/storage_tests/{suite}" for suite in SUITES]
    pytest = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "coinbase_assets_tests.conformance.plugin",
    ]
    alone = ["-c", os.devnull, "--rootdir", ".", "-W", "ignore", "-k", OTHERS, *options]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), STOCK: "1" if stock else ""}
    return subprocess.run([*pytest, *alone, *suites], cwd=source, env=environment).returncode


def main(arguments: list[str]) -> int:
    options = [one for one in arguments if one != "--stock"]
    return run(download(version("dagster")), "--stock" in arguments, options)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
