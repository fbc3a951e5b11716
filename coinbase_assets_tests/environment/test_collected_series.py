"""The file of the series that were ever collected."""

import subprocess
import sys
from pathlib import Path

import pytest

from coinbase_assets.candles.series import Series
from coinbase_assets.environment.collected_series import (
    add_collected_series,
    read_collected_series,
)

ADD = """
import sys
from pathlib import Path
from coinbase_assets.candles.series import Series
from coinbase_assets.environment.collected_series import add_collected_series
for number in range(100):
    add_collected_series(Path(sys.argv[1]), [Series.parse(f"{sys.argv[2]}{number}-EUR:1m")])
"""


def test_collected_series_are_added_and_stay(tmp_path: Path) -> None:
    hours, minutes = map(Series.parse, ("ETH-EUR:1h", "BTC-USD:1m"))
    assert read_collected_series(tmp_path) == []
    for series in (hours, minutes, hours):
        add_collected_series(tmp_path, [series])
    assert read_collected_series(tmp_path) == [minutes, hours]


@pytest.mark.soak
def test_collected_series_two_processes_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ADD, str(tmp_path)]
    both = [subprocess.Popen([*command, name]) for name in ("A", "B")]
    assert [process.wait() for process in both] == [0, 0]
    assert len(read_collected_series(tmp_path)) == 200


def test_collected_series_damaged_file_names_remedy(tmp_path: Path) -> None:
    (tmp_path / "collected_series").write_text("ETH-EUR:7m\n")
    with pytest.raises(ValueError, match=r"collected_series: cannot be read .* delete it"):
        read_collected_series(tmp_path)
