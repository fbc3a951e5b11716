"""The package as its users have it: a wheel, without the checkout around it."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from coinbase_assets.dagster_instance.instance_config import template
from coinbase_assets_tests.processes import PROJECT
from coinbase_assets_tests.stand_in.exchange import StandInExchange

pytestmark = pytest.mark.soak
PROGRAM = ("-c", "from coinbase_assets.cli.entry import run; run()")
DG = ("-c", "from dagster_dg_cli.cli import main; main()")
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with the wheel, and with the packages that are here apart from this one."""
    folder = tmp_path_factory.mktemp("wheel")
    built = shutil.copytree(PROJECT / "coinbase_assets", folder / "project" / "coinbase_assets")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, built.parent)
    _uv("build", "--system-certs", "--wheel", "--out-dir", folder, built.parent)
    venv.create(folder / "venv", symlinks=True)
    python = folder / "venv" / "bin" / "python"
    (wheel,) = folder.glob("*.whl")
    _uv("pip", "install", "--no-deps", "--offline", "--python", python, wheel)
    (packages,) = (folder / "venv").glob("lib/*/site-packages")
    # Python does not look for .pth files there, so the one that names the checkout is not read.
    (packages / "others.pth").write_text(sysconfig.get_path("purelib"))
    return python


def _uv(*arguments: object) -> None:
    command = [sys.executable, "-m", "uv", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def run(python: Path, tmp_path: Path, azurite: str) -> Run:
    def run(*arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        environment: Mapping[str, str] = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "AZURE_STORAGE_CONNECTION_STRING": azurite,
            "DAGSTER_DG_CLI_TELEMETRY_ENABLED": "false",
            **settings,
        }
        return subprocess.run(
            [python, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_wheel_makes_instance_and_collects(run: Run, tmp_path: Path) -> None:
    with StandInExchange(rate=None) as exchange:
        done = run(*PROGRAM, "collect", "--days", "1", COINBASE_API_URL=exchange.url)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / ".dagster" / "dagster.yaml").read_bytes() == template().read_bytes()


def test_folder_of_init_is_project_of_dagster_and_dg(run: Run, tmp_path: Path) -> None:
    assert run(*PROGRAM, "init").returncode == 0
    home = str(tmp_path / ".dagster")
    for command in (("-m", "dagster", "definitions", "validate"), (*DG, "check", "defs")):
        done = run(*command, DAGSTER_HOME=home)
        assert done.returncode == 0, done.stderr
