"""UTC days and months, and their partition keys: `2024-01-31` and `2024-01`. Pure: no I/O."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import groupby

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
# ISO 8601 in UTC to the second, as all times in the fields of tables are written.
TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


def format_time(instant: datetime) -> str:
    """Return a UTC time as `2024-01-31T12:00:00Z`."""
    return instant.strftime(TIME_FORMAT)


def at_minute(instant: datetime) -> str:
    """Return a UTC time for people, to the minute: `2024-01-31 12:00 UTC`."""
    return f"{instant:%F %H:%M} UTC"


def day_start(day_key: str) -> datetime:
    """Return the first instant of the day."""
    return datetime.fromisoformat(day_key).replace(tzinfo=UTC)


def month_of(day_key: str) -> str:
    """Return the key of the month that holds a day: 2024-01 for 2024-01-31."""
    return day_key[:7]


def month_range(month_key: str) -> tuple[datetime, datetime]:
    """Return the first instant of the month and the first instant of the next month."""
    first = _number(month_key)
    return day_start(f"{_month(first)}-01"), day_start(f"{_month(first + 1)}-01")


def months_between(first: datetime, end: datetime) -> Sequence[str]:
    """Return the keys of the months that hold an instant from `first` until `end`."""
    if first >= end:
        return []
    last = end - timedelta(microseconds=1)
    return [_month(n) for n in range(_number(f"{first:%Y-%m}"), _number(f"{last:%Y-%m}") + 1)]


def days_between(first: datetime, end: datetime) -> Sequence[str]:
    """Return the keys of the days that hold an instant from `first` until `end`."""
    count = -((first.replace(hour=0, minute=0, second=0, microsecond=0) - end) // DAY)
    return [f"{first + number * DAY:%F}" for number in range(count)]


def following_months(first: str, count: int) -> Sequence[str]:
    """Return the keys of `count` months, beginning with `first`."""
    return [_month(_number(first) + n) for n in range(count)]


def adjoining(keys: Sequence[str], most: int) -> Iterator[Sequence[str]]:
    """Split keys of days or of months, ascending, into lists of at most `most` adjoining keys."""
    for _, group in groupby(enumerate(keys), key=lambda item: _number(item[1]) - item[0]):
        run = [key for _, key in group]
        yield from (run[index : index + most] for index in range(0, len(run), most))


def as_ranges(keys: Sequence[str]) -> str:
    """Return keys of days or of months, ascending, as `2024-01-01..2024-01-09, 2024-02-03`."""
    runs = adjoining(keys, len(keys))
    return ", ".join(run[0] if len(run) == 1 else f"{run[0]}..{run[-1]}" for run in runs)


def _number(key: str) -> int:
    """Return the number of a day or month key; consecutive keys have consecutive numbers."""
    year, month, *day = map(int, key.split("-"))
    return date(year, month, *day).toordinal() if day else 12 * year + month - 1


def _month(number: int) -> str:
    """Return the key of the month that has this number."""
    return f"{number // 12:04}-{number % 12 + 1:02}"
