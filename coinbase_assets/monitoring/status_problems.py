"""The problems of a series as the lake shows them now, and those that only Dagster knows."""

from collections.abc import Iterator, Sequence
from datetime import datetime

import dagster as dg

from coinbase_assets.candles.calendar import at_minute
from coinbase_assets.candles.series import Rollup
from coinbase_assets.completeness.ledger import State
from coinbase_assets.lake.status import SeriesStatus
from coinbase_assets.monitoring.destinations import Level
from coinbase_assets.monitoring.freshness import FreshnessWindows
from coinbase_assets.monitoring.incidents import Incident, Problem
from coinbase_assets.monitoring.kinds import Kind
from coinbase_assets.monitoring.recency import judge

# The lake itself shows these. What the alerts last saw may be old.
_SEEN_IN_LAKE = (Kind.STALE, Kind.INCOMPLETE)


def series_problems(
    status: SeriesStatus,
    windows: FreshnessWindows,
    incidents: Sequence[Incident],
    rollups: Sequence[Rollup],
    now: datetime,
) -> list[Problem]:
    """Return the problems of a series and of those of the rollups that are made of it."""
    of_series = [rollup for rollup in rollups if rollup.made_of == status.series]
    subjects = {str(each) for each in (status.series, *of_series)}
    standing = [problem for incident in incidents for problem in incident.standing]
    return [
        *_stale(status, windows, now),
        *_incomplete(status),
        *(p for p in standing if p.subject in subjects and p.kind not in _SEEN_IN_LAKE),
    ]


def is_fresh(problems: Sequence[Problem]) -> bool:
    """Return whether none of the problems is that the series is stale."""
    return not any(p.kind == Kind.STALE and p.severity == Level.FAILURE for p in problems)


def _stale(status: SeriesStatus, windows: FreshnessWindows, now: datetime) -> Iterator[Problem]:
    for verdict in judge(status.recency, windows, now).values():
        if verdict.severity:
            is_error = verdict.severity == dg.AssetCheckSeverity.ERROR
            level = Level.FAILURE if is_error else Level.WARNING
            yield Problem(str(status.series), Kind.STALE, verdict.found, level)
            return


def _incomplete(status: SeriesStatus) -> Iterator[Problem]:
    holes = [each for each in status.unexplained if each.state == State.UNCONFIRMED]
    if holes:
        text = f"the first of {len(holes)} begins at {at_minute(holes[0].start)}"
        yield Problem(str(status.series), Kind.INCOMPLETE, text, Level.WARNING, len(holes))
