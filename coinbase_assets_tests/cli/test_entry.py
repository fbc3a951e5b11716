"""Ctrl-C where Python can only print it."""

import subprocess
import sys

import pytest

from coinbase_assets_tests.processes import PROJECT

LOST = """
import sys, time
from coinbase_assets.cli.entry import interrupt_again

class Finalised:
    def __del__(self):
        raise {error}

sys.unraisablehook = interrupt_again
Finalised()
try:
    time.sleep(20)
    sys.exit(3)
except KeyboardInterrupt:
    sys.exit(7)
"""


@pytest.mark.soak
def test_lost_interrupt_is_delivered_again() -> None:
    done = run(LOST.format(error="KeyboardInterrupt"))
    assert (done.returncode, done.stdout, done.stderr) == (7, "", "")


def test_other_lost_errors_are_printed() -> None:
    done = run(LOST.format(error="ValueError('lost')").replace("sleep(20)", "sleep(0)"))
    assert done.returncode == 3
    assert "ValueError: lost" in done.stderr


def run(code: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60)
