"""The file that says where partitions begin."""

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from coinbase_assets.environment.first_day import (
    forget_first_day,
    lower_first_day,
    read_first_day,
)

JANUARY, MARCH, MAY = (date(2024, month, 1) for month in (1, 3, 5))
# Lowers the day many times; after each time, the file has that day or an earlier one.
LOWER = """
import sys
from datetime import date
from pathlib import Path
from coinbase_assets.environment.first_day import lower_first_day, read_first_day
home, offset = Path(sys.argv[1]), int(sys.argv[2])
for number in range(5000, 4400, -2):
    day = date.fromordinal(730_000 + number + offset)
    lower_first_day(home, day)
    assert read_first_day(home) <= day
"""


def test_first_day_is_lowered_and_never_raised(tmp_path: Path) -> None:
    assert read_first_day(tmp_path) is None
    assert lower_first_day(tmp_path, MARCH) == MARCH
    assert lower_first_day(tmp_path, MAY) == MARCH
    assert lower_first_day(tmp_path, JANUARY) == JANUARY
    assert read_first_day(tmp_path) == JANUARY
    forget_first_day(tmp_path)
    assert read_first_day(tmp_path) is None


def test_first_day_two_processes_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LOWER, str(tmp_path)]
    both = [subprocess.Popen([*command, offset]) for offset in ("0", "1")]
    assert [process.wait() for process in both] == [0, 0]
    assert read_first_day(tmp_path) == date.fromordinal(734_402)


@pytest.mark.parametrize(
    "text", ["", "soon", "2024-13-01", str(datetime.now(UTC).date() + timedelta(days=2))]
)
def test_first_day_damaged_file_names_remedy(tmp_path: Path, text: str) -> None:
    (tmp_path / "first_day").write_text(text)
    with pytest.raises(ValueError, match=r"first_day: cannot be read .* set COINBASE_START"):
        read_first_day(tmp_path)
