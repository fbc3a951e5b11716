"""What users would take instead, each pinned in a virtual environment of its own.

`NAME.txt` beside this file pins a peer's packages, `NAME.py` is what its Python runs.
"""

import shutil
import subprocess
import sys
from pathlib import Path

_HERE = Path(__file__).parent
_ENVIRONMENTS = _HERE.parents[1] / ".peers"


def peer_python(name: str) -> Path:
    """The interpreter of the peer's environment, made where it is missing or pinned anew."""
    folder, pins = _ENVIRONMENTS / name, _HERE / f"{name}.txt"
    installed = folder / "installed.txt"
    if not installed.exists() or installed.read_text() != pins.read_text():
        uv, python = str(Path(sys.executable).with_name("uv")), str(folder / "bin" / "python")
        subprocess.run([uv, "venv", "--quiet", "--clear", str(folder)], check=True)
        install = [uv, "pip", "install", "--quiet", "--system-certs", "--compile-bytecode"]
        subprocess.run([*install, "--python", python, "--requirement", str(pins)], check=True)
        shutil.copy(pins, installed)
    return folder / "bin" / "python"


def script(name: str) -> Path:
    return _HERE / f"{name}.py"
