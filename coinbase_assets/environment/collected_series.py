"""The series that were ever collected, in a file of the Dagster instance's folder.

So definitions know those that are not configured, too, and the web UI shows them in their groups.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from coinbase_assets.candles.series import Series
from coinbase_assets.file_locks import exclusive


def read_collected_series(home: Path) -> Sequence[Series]:
    """Return the series in the file, ascending. Raises ValueError if it holds anything else."""
    file = _file(home)
    try:
        return [Series.parse(line) for line in file.read_text().splitlines()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError) as error:
        raise ValueError(f"{file}: cannot be read ({error}); delete it") from None


def add_collected_series(home: Path, series: Iterable[Series]) -> None:
    """Add what the file lacks. Processes may do so at once. Raises ValueError as the reader."""
    with exclusive(home / "collected_series.lock"):
        known = {*read_collected_series(home)}
        if known >= {*series}:
            return
        part = home / "collected_series.part"
        part.write_text("".join(f"{each}\n" for each in sorted({*known, *series}, key=str)))
        os.replace(part, _file(home))


def _file(home: Path) -> Path:
    return home / "collected_series"
