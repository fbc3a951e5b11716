"""Adding an optional column takes one line in the list of columns."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import coinbase_assets

PACKAGE = Path(coinbase_assets.__file__).parent
CASES = Path(__file__).with_name("optional_column_cases.py")
LINE = '    Column("example", pa.int64(), "An example", np.add.reduceat, required=False),\n'
END_OF_COLUMNS = ')\n"""The columns of values'


@pytest.mark.soak
def test_optional_column_takes_one_line(tmp_path: Path) -> None:
    copy = shutil.copytree(PACKAGE, tmp_path / PACKAGE.name)
    table = copy / "candles" / "table.py"
    before, end, after = table.read_text().partition(END_OF_COLUMNS)
    assert end
    table.write_text(f"{before}{LINE}{end}{after}")
    command = [sys.executable, "-m", "pytest", "--import-mode=append", "--noconftest", "-q"]
    result = subprocess.run(
        [*command, "-c", os.devnull, "-p", "no:cacheprovider", str(CASES)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(PACKAGE.parent)])},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
