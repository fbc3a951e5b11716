"""Dagster's private names stand in one folder, each once, and a missing one is a clear error."""

import ast
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import coinbase_assets
from coinbase_assets.dagster_instance.supported_dagster import TESTED

PACKAGE = Path(coinbase_assets.__file__).parent
PARTS = ("names", "daemon_names", "event_log_names", "web_names")
FILES = {f"dagster_instance/private_{part}.py" for part in PARTS}


def private_imports(path: Path) -> Iterator[tuple[str, str]]:
    """Module and name of each import of a private name of Dagster."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dagster._"):
            yield from ((node.module or "", alias.name) for alias in node.names)
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if "dagster._" in alias.name)


def test_private_names_stand_in_their_files_only() -> None:
    found = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if "dagster._" in path.read_text()
    }
    assert found == FILES


def test_private_names_are_imported_once() -> None:
    names = Counter(name for file in FILES for name in private_imports(PACKAGE / file))
    assert len(names) > 20
    assert set(names.values()) == {1}


def test_private_names_are_on_the_decision_page() -> None:
    page = PACKAGE.parent / "docs" / "decisions" / "2026-11-27-private-names.md"
    text = page.read_text()
    names = {name for file in FILES for _, name in private_imports(PACKAGE / file)}
    assert {name for name in names if f"`{name}`" not in text} == set()


def test_tested_range_holds_installed_dagster() -> None:
    assert version("dagster") in SpecifierSet(TESTED)


def test_tested_range_begins_with_lowest_dagster_allowed() -> None:
    needed = map(Requirement, requires("coinbase-assets") or [])
    (allowed,) = (each.specifier for each in needed if each.name == "dagster")
    assert TESTED.partition(",")[0] in map(str, allowed)


STATUS = "from coinbase_assets.cli.main import main; main(['status'])"


def run_with_changed_dagster(folder: Path, module: str, change: str) -> list[str]:
    """The lines that `coinbase-assets status` prints when Dagster lacks a name.

    Python imports sitecustomize.py first; this one removes the name.
    """
    stub = f"from importlib import import_module\nmodule = import_module({module!r})\n{change}\n"
    (folder / "sitecustomize.py").write_text(stub)
    done = subprocess.run(
        [sys.executable, "-c", STATUS],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    return (done.stdout + done.stderr).splitlines()


@pytest.mark.parametrize(
    ("module", "change", "missing"),
    [
        (
            "dagster._core.definitions.freshness",
            "del module.FreshnessState",
            "cannot import name 'FreshnessState' from 'dagster._core.definitions.freshness'",
        ),
        pytest.param(
            "dagster._core.storage.asset_check_execution_record",
            "module.AssetCheckExecutionRecordStatus = type('Status', (), {})",
            "type object 'Status' has no attribute 'FAILED'",
            marks=pytest.mark.soak,
        ),
        (
            "dagster._core.storage.event_log",
            "del module.SqliteEventLogStorage.path_for_shard",
            "type object 'SqliteEventLogStorage' has no attribute 'path_for_shard'",
        ),
        pytest.param(
            "dagster._core.instance",
            "import sys; sys.modules['dagster._core.instance.ref'] = None",
            "import of dagster._core.instance.ref halted; None in sys.modules",
            marks=pytest.mark.soak,
        ),
    ],
)
def test_missing_private_name_is_one_line(
    tmp_path: Path, module: str, change: str, missing: str
) -> None:
    (line,) = run_with_changed_dagster(tmp_path, module, change)
    assert line == (
        f"Error: Dagster {version('dagster')}: {missing}; coinbase-assets is tested with"
        f" dagster{TESTED}; run pip install 'dagster{TESTED}' dagster-webserver"
    )
