"""The first command of a user whose machine has no network, and the second one beside it."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from coinbase_assets_tests.processes import process_environment

SCRIPT = """
ip link set lo up || exit 99
"$0" collect 2>first.log & first=$!
until grep -q Installing first.log; do sleep 0.1; done
"$0" collect 2>second.log
echo $?
wait $first
echo $?
"""
CAN_BE_CUT_OFF = ["unshare", "--map-root-user", "--net", "ip", "link", "set", "lo", "up"]


def can_be_cut_off() -> bool:
    try:
        return subprocess.run(CAN_BE_CUT_OFF, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.soak
@pytest.mark.skipif(not can_be_cut_off(), reason="cannot make a network namespace here")
def test_collect_without_network_ends_with_cause_and_remedy(tmp_path: Path) -> None:
    environment = process_environment(tmp_path / "dagster")
    environment |= {"XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path)}
    program = Path(sys.executable).with_name("coinbase-assets")
    command = ["unshare", "--map-root-user", "--net", "sh", "-c", SCRIPT, str(program)]
    began = time.monotonic()
    ended = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=240
    )
    assert (ended.stdout, ended.stderr) == ("1\n1\n", "")
    assert time.monotonic() - began < 120
    first, second = ((tmp_path / name).read_text() for name in ("first.log", "second.log"))
    installing, error = first.splitlines()
    assert installing.startswith("Installing Azurite")
    *said, same_error = second.splitlines()
    assert said == [waiting(installing), installing]
    for line in (error, same_error):
        assert line.startswith("Error: npm could not install azurite")
        assert "request to https://registry.npmjs.org/" in line
        assert line.endswith("or set AZURE_STORAGE_CONNECTION_STRING to your storage account")


def waiting(installing: str) -> str:
    folder = installing.rpartition(" into ")[2].partition(";")[0]
    return f"Waiting for another process, which installs Azurite into {folder}"
