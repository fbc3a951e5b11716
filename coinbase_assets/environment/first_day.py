"""The day on which partitions begin, in a file of the Dagster instance's folder.

Commands write it; definitions read it when they load, without network or database.
"""

import os
from datetime import date
from pathlib import Path

from coinbase_assets.environment.setting_values import parse_start
from coinbase_assets.file_locks import exclusive


def read_first_day(home: Path) -> date | None:
    """Return the day in the file, None without a file. Raises ValueError if it is not a day."""
    file = _file(home)
    try:
        text = file.read_text().strip()
        return parse_start(text)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{file}: cannot be read ({error}); delete it, or set COINBASE_START"
        ) from None


def lower_first_day(home: Path, day: date) -> date:
    """Write `day` unless the file has an earlier one, and return the earlier of the two.

    Processes may do so at once: the earliest day stays. Raises ValueError as `read_first_day`.
    """
    with exclusive(home / "first_day.lock"):
        known = read_first_day(home)
        if known and known <= day:
            return known
        part = home / "first_day.part"
        part.write_text(f"{day}\n")
        os.replace(part, _file(home))
        return day


def forget_first_day(home: Path) -> None:
    """Delete the file, if there is one."""
    with exclusive(home / "first_day.lock"):
        _file(home).unlink(missing_ok=True)


def _file(home: Path) -> Path:
    return home / "first_day"
