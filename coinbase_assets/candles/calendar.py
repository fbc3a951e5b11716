"""UTC days and months as partition keys: `2024-01-31`, `2024-01`. Pure: no Dagster, no I/O."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import groupby

DAY = timedelta(days=1)


def day_start(partition_key: str) -> datetime:
    """The day's first instant."""
    return datetime.fromisoformat(partition_key).replace(tzinfo=UTC)


def month_of(day_key: str) -> str:
    """The key of the month that holds a day: 2024-01 for 2024-01-31."""
    return day_key[:7]


def month_range(month_key: str) -> tuple[datetime, datetime]:
    """The month's first instant, and the one after its last."""
    start = day_start(f"{month_key}-01")
    return start, (start + 31 * DAY).replace(day=1)


def adjoining(keys: Sequence[str], most: int) -> Iterator[Sequence[str]]:
    """The keys, ascending days or months, in lists of at most so many that adjoin."""
    for _, group in groupby(enumerate(keys), key=lambda item: _ordinal(item[1]) - item[0]):
        run = [key for _, key in group]
        yield from (run[index : index + most] for index in range(0, len(run), most))


def _ordinal(key: str) -> int:
    """A number that grows by one from a day's, or a month's, key to the next."""
    year, month, *day = map(int, key.split("-"))
    return date(year, month, *day).toordinal() if day else 12 * year + month
