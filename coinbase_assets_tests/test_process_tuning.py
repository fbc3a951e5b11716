"""Settings of a process, each tried in a process of its own."""

import subprocess
import sys

WITHOUT_PANDAS = """
import sys

import pyarrow as pa

from coinbase_assets.process_tuning import without_pandas

without_pandas()
table = pa.table({"close": pa.array([1.0])})
assert "pandas" not in sys.modules
frame = table.to_pandas()
assert "pandas" in sys.modules
print(float(frame["close"].sum()))
"""


def test_arrow_imports_pandas_only_for_frames() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PANDAS], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "1.0\n"), done.stderr
