"""What the options of the command line accept: series, days, ranges of days, files."""

import re
from calendar import monthrange
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import click

from coinbase_assets.candles.series import (
    BucketLength,
    CandleSeries,
    Granularity,
    RollupGranularity,
    Series,
)

DEFAULT_DAYS = 7
DAY_FORMS = "2024-01-31, 2024-01, 2024, or -7d for 7 days ago"
FOLDED: Mapping[str, BucketLength] = {
    each.value: each for each in (Granularity.ONE_MINUTE, *RollupGranularity)
}
"""The lengths of candles that can be drawn, by their names."""

_DAYS_AGO = re.compile(r"-([0-9]{1,5})d")
_PERIOD = re.compile(r"([0-9]{4})(?:-([0-9]{2}))?")
# Of more, not even a wide picture shows each.
_MOST_DRAWN = 5_000


class SeriesParameter(click.ParamType):
    """A series, read by `parse`, which raises ValueError for wrong text."""

    name = "PRODUCT:GRANULARITY"

    def __init__(self, parse: Callable[[str], CandleSeries] = Series.parse) -> None:
        self._parse = parse

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> CandleSeries:
        product, colon, granularity = value.rpartition(":")
        try:
            return self._parse(f"{product.upper()}{colon}{granularity}")
        except ValueError as error:
            self.fail(str(error), param, ctx)


class DayParameter(click.ParamType):
    """A UTC day: a date, a number of days ago, or the first day of a month or year.

    If `is_last`, it is the last day of the month or year, but not after today.
    """

    name = "DAY"

    def __init__(self, *, is_last: bool = False) -> None:
        self._is_last = is_last

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> date:
        try:
            if ago := _DAYS_AGO.fullmatch(value):
                return _today() - timedelta(days=int(ago[1]))
            if period := _PERIOD.fullmatch(value):
                return self._day_of(int(period[1]), int(period[2]) if period[2] else None)
            return date.fromisoformat(value)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is not a day; write {DAY_FORMS}", param, ctx)

    def _day_of(self, year: int, month: int | None) -> date:
        first = date(year, month or 1, 1)
        if not self._is_last:
            return first
        last = date(year, month or 12, monthrange(year, month or 12)[1])
        return max(first, min(last, _today()))


class TimeParameter(click.ParamType):
    """A time in ISO 8601, in UTC unless it has a zone."""

    name = "TIME"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        try:
            time = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a time; write 2024-01-31T12:00", param, ctx)
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)


class FileParameter(click.ParamType):
    """A file to write. Its suffix is the format; `suffixes` returns the allowed ones."""

    name = "FILE"

    def __init__(self, suffixes: Callable[[], Collection[str]], *, or_stdout: bool = False) -> None:
        self._suffixes = suffixes
        self._or_stdout = or_stdout

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path, suffixes = Path(value), self._suffixes()
        if self._or_stdout and value == "-":
            return path
        if not path.name.lower().endswith(tuple(suffixes)):
            allowed = " or ".join(suffixes)
            self.fail(f"{value!r}: unknown format; end the name with {allowed}", param, ctx)
        if not path.parent.is_dir():
            self.fail(f"{value!r}: there is no folder {str(path.parent)!r}; create it", param, ctx)
        return path


def export_suffixes() -> Collection[str]:
    # Imported here, since `--help` and the other commands need no pyarrow to start.
    from coinbase_assets.lake.export import FORMATS

    return FORMATS.keys()


def folded_seconds(series: Series, length: str) -> int:
    """Return the seconds of candles of that length. Raises UsageError if series has no such."""
    seconds = FOLDED[length].seconds
    if seconds % series.granularity.seconds:
        possible = (
            name for name, each in FOLDED.items() if not each.seconds % series.granularity.seconds
        )
        raise click.UsageError(
            f"--candles {length}: cannot be made of {series.granularity} candles;"
            f" possible are {' '.join(possible)}"
        )
    return seconds


def refuse_too_many(first: date, last: date, seconds: int) -> None:
    """Raise UsageError if the days, both inclusive, have more candles than a picture can show."""
    count = ((last - first).days + 1) * 86_400 // seconds
    if count > _MOST_DRAWN:
        raise click.UsageError(
            f"--candles: up to {count} from {first} to {last}, but a picture shows {_MOST_DRAWN};"
            " give longer candles or fewer days"
        )


def picture_suffixes() -> Collection[str]:
    return (".png", ".svg", ".pdf")


def days_to_collect(
    start: date, first: date | None, last: date | None, days: int | None = None
) -> list[str]:
    """Return the partition keys from `first` to `last`, both inclusive.

    By default, `last` is today (UTC) and `first` is `days` earlier, but not before `start`; by
    default, these are DEFAULT_DAYS. Raises UsageError for days before `start` or in the future.
    """
    if first and days:
        raise click.UsageError(f"--days {days} and --from {first}: give one of them")
    today = _today()
    if days:
        first = (last or today) - timedelta(days=days)
    last = last or today
    first = first or max(start, min(today - timedelta(days=DEFAULT_DAYS), last))
    refuse_future(last)
    _refuse_before(start, "--to", last)
    refuse_reversed(first, last)
    _refuse_before(start, "--from", first)
    return [str(first + timedelta(days=day)) for day in range((last - first).days + 1)]


def refuse_reversed(first: date | None, last: date | None) -> None:
    if first and last and first > last:
        raise click.UsageError(f"--from {first}: after --to {last}; swap them")


def refuse_future(last: date | None) -> None:
    if last and last > _today():
        raise click.UsageError(f"--to {last}: in the future; today is {_today()} (UTC)")


def _refuse_before(start: date, option: str, day: date) -> None:
    if day < start:
        raise click.UsageError(
            f"{option} {day}: before COINBASE_START={start}; set COINBASE_START to an earlier day"
        )


def _today() -> date:
    return datetime.now(UTC).date()
