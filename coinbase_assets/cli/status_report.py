"""The status of series, as text and as JSON."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from coinbase_assets.candles.calendar import format_time
from coinbase_assets.candles.series import Rollup, Series
from coinbase_assets.cli.console import PlainConsole
from coinbase_assets.completeness.ledger import State
from coinbase_assets.lake.portable_json import to_json
from coinbase_assets.lake.status import SeriesStatus, series_status
from coinbase_assets.monitoring.freshness import FreshnessWindows
from coinbase_assets.monitoring.incidents import Incident, Problem
from coinbase_assets.monitoring.kinds import TROUBLE, Kind
from coinbase_assets.monitoring.status_problems import is_fresh, series_problems
from coinbase_assets.plain_text import shown
from coinbase_assets.storage.parquet_store import ParquetStore

_HEADINGS = ("series", "candles", "first", "last", "days", "months", "age", "settled", "explained")
_MOST_NAMED = 5
_MOST_OF_EVIDENCE = 300
_MOST_OF_DAMAGE = 600


def print_status(
    console: PlainConsole,
    store: ParquetStore,
    series: Sequence[Series],
    rollups: Sequence[Rollup] = (),
) -> list[SeriesStatus]:
    """Print a line per series, then what is unexplained or damaged. Returns their statuses."""
    now = datetime.now(UTC)
    statuses = [_status(store, each, now, rollups) for each in series]
    console.print_table(_HEADINGS, [_cells(status, now) for status in statuses])
    for status in statuses:
        damage = (shown(line, _MOST_OF_DAMAGE) for line in status.damage)
        lines = [*damage, *_unexplained_lines(status)]
        if counts := _unproven(status):
            console.print(f"{status.series}: {counts}")
        for line in lines[:_MOST_NAMED]:
            console.print(line)
        if len(lines) > _MOST_NAMED:
            console.print(f"{status.series}: {len(lines) - _MOST_NAMED} more; see status --json")
    if foreign := _foreign(statuses):
        console.print(foreign)
    console.print(f"Container {store.container_uri}; the history is in candle_history/")
    return statuses


def print_with_problems(
    console: PlainConsole,
    store: ParquetStore,
    windows: Mapping[Series, FreshnessWindows],
    incidents: Sequence[Incident],
    rollups: Sequence[Rollup],
) -> bool:
    """Print the status of the series, and their problems other than holes.

    Returns whether all series are complete and fresh.
    """
    statuses = print_status(console, store, list(windows), rollups)
    now, is_well = datetime.now(UTC), True
    for status in statuses:
        window = windows[status.series]
        problems = series_problems(status, window, incidents, rollups, now)
        for problem in problems:
            if problem.kind != Kind.INCOMPLETE:
                console.print(f"{problem.subject}: {_as_line(problem)}")
        is_well &= status.complete and is_fresh(problems)
    return is_well


def _as_line(problem: Problem) -> str:
    """Return what is wrong, in a line."""
    return f"{TROUBLE[problem.kind]}: {problem.text}"


def _status(
    store: ParquetStore, series: Series, now: datetime, rollups: Sequence[Rollup]
) -> SeriesStatus:
    of_series = [rollup for rollup in rollups if rollup.made_of == series]
    return series_status(store, series, now.date(), of_series)


def _foreign(statuses: Sequence[SeriesStatus]) -> str:
    """Say how many files do not belong to the lake; "" if there is none."""
    paths = [path for status in statuses for path in status.foreign]
    if not paths:
        return ""
    return f"{len(paths)} files do not belong to the lake and are left alone, such as {paths[0]}"


def print_json(
    store: ParquetStore,
    windows: Mapping[Series, FreshnessWindows],
    incidents: Sequence[Incident] = (),
    rollups: Sequence[Rollup] = (),
) -> bool:
    """Print a JSON array with an object per series.

    Returns whether all series are complete and fresh.
    """
    now, objects, is_well = datetime.now(UTC), [], True
    for series, window in windows.items():
        status = _status(store, series, now, rollups)
        problems = series_problems(status, window, incidents, rollups, now)
        objects.append(
            _as_json(status, now)
            | {
                "answered_through": _time(status.answered_through),
                "fresh": is_fresh(problems),
                "problems": [_as_line(problem) for problem in problems],
            }
        )
        is_well &= status.complete and is_fresh(problems)
    print(to_json(objects, indent=2))
    return is_well


def _cells(status: SeriesStatus, now: datetime) -> tuple[str, ...]:
    age = status.age(now)
    return (
        str(status.series),
        f"{status.candles:,}",
        f"{status.first_candle:%F %H:%M}" if status.first_candle else "-",
        f"{status.last_candle:%F %H:%M}" if status.last_candle else "-",
        str(len(status.days)),
        str(status.months),
        "-" if age is None else str(max(age, timedelta(0))).split(".")[0],
        str(status.settled_through or "-"),
        _percent(status),
    )


def _percent(status: SeriesStatus) -> str:
    """Round down, so that no incomplete series shows 100 %."""
    if not status.days:
        return "-"
    return "complete" if status.complete else f"{int(status.explained * 10_000) / 100:.2f} %"


def _unproven(status: SeriesStatus) -> str:
    """Say how many buckets are unprovable or pending, and how many candles are made of trades."""
    counts = [
        f"{status.buckets[state]:,} buckets {state.value}"
        for state in (State.UNPROVABLE, State.PENDING)
        if status.buckets[state]
    ]
    if status.from_trades:
        counts.append(f"{status.from_trades:,} candles made of trades")
    return ", ".join(counts)


def _unexplained_lines(status: SeriesStatus) -> Iterator[str]:
    for interval in status.unexplained:
        span = f"{interval.start:%F %H:%M} to {interval.end:%F %H:%M}"
        evidence = shown(interval.evidence, _MOST_OF_EVIDENCE)
        yield f"{status.series}: {span} {interval.state}: {evidence}"
    for day, disagreement in status.disagreements.items():
        yield f"{status.series}: {day} {shown(disagreement, _MOST_OF_EVIDENCE)}"


def _as_json(status: SeriesStatus, now: datetime) -> dict[str, object]:
    age = status.age(now)
    return {
        "series": str(status.series),
        "complete": status.complete,
        "explained": status.explained,
        "candles": status.candles,
        "first_candle": _time(status.first_candle),
        "last_candle": _time(status.last_candle),
        "age_seconds": None if age is None else max(0, int(age.total_seconds())),
        "days": len(status.days),
        "months": status.months,
        "settled_through": str(status.settled_through) if status.settled_through else None,
        "open_questions": [
            {
                "start": _time(interval.start),
                "end": _time(interval.end),
                "buckets": (interval.end - interval.start) // status.series.granularity.delta,
                "state": interval.state.value,
                "evidence": interval.evidence,
            }
            for interval in status.unexplained
        ],
        "disagreements": dict(status.disagreements),
        "damage": list(status.damage),
        "foreign": list(status.foreign),
        "buckets": {state.value: count for state, count in status.buckets.items()},
        "from_trades": status.from_trades,
        "agreement": {level.value: vars(counts) for level, counts in status.agreement.items()},
    }


def _time(time: datetime | None) -> str | None:
    return format_time(time) if time else None
