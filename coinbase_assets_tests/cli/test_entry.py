"""The program: Ctrl-C while it starts and while it ends."""

import subprocess
import sys

PRESS = "import os, signal, sys, atexit; press = lambda: os.kill(os.getpid(), signal.SIGINT)\n"
RUN = "from coinbase_assets.cli.entry import run; run()"
# Presses Ctrl-C when the command line begins to be imported.
AT_IMPORT = """
class Pressing:
    def find_spec(self, name, path=None, target=None):
        if name == "coinbase_assets.cli.main":
            press()

sys.meta_path.insert(0, Pressing())
"""


def run(code: str) -> tuple[int, str, str]:
    command = [sys.executable, "-c", f"{PRESS}{code}\n{RUN}", "--help"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def test_ctrl_c_while_starting_is_silent() -> None:
    assert run(AT_IMPORT) == (130, "", "")


def test_ctrl_c_while_ending_is_ignored() -> None:
    status, output, errors = run("atexit.register(press)")
    assert (status, errors) == (0, "")
    assert output.startswith("Usage:")
