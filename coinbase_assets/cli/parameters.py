"""What the options of the command line accept: series, days, ranges of days, files."""

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
FOLDED: Mapping[str, BucketLength] = {
    each.value: each for each in (Granularity.ONE_MINUTE, *RollupGranularity)
}
"""The lengths of candles that can be drawn, by their names."""

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
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class DayParameter(click.ParamType):
    """A UTC day, written YYYY-MM-DD."""

    name = "YYYY-MM-DD"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> date:
        try:
            return date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a day; write YYYY-MM-DD", param, ctx)


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

    def __init__(self, suffixes: Callable[[], Collection[str]]) -> None:
        self._suffixes = suffixes

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path, suffixes = Path(value), self._suffixes()
        if path.suffix.lower() not in suffixes:
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


def days_to_collect(start: date, first: date | None, last: date | None) -> list[str]:
    """Return the partition keys from `first` to `last`, both inclusive.

    By default, `last` is today (UTC) and `first` is DEFAULT_DAYS earlier, but not before `start`.
    Raises UsageError for days before `start` or in the future.
    """
    today = _today()
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
