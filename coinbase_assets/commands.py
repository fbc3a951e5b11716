"""What the commands do: the lake opened, the work done, its result printed."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
from dagster._core.instance.ref import InstanceRef
from rich.console import Console
from sqlalchemy.exc import OperationalError

from coinbase_assets.collect import Collector, Outcome
from coinbase_assets.definitions import build_definitions, build_storage
from coinbase_assets.embedded import with_storage
from coinbase_assets.locks import exclusive
from coinbase_assets.orphans import fail_orphans
from coinbase_assets.progress import progress
from coinbase_assets.series import Series
from coinbase_assets.settings import Settings
from coinbase_assets.status import SeriesStatus, series_status
from coinbase_assets.storage.parquet_store import ParquetStore

_MOST_NAMED = 10

# Compute logs would take this process's standard output away from its progress bar.
_QUIET = {
    "telemetry": {"enabled": False},
    "compute_logs": {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    },
}

console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def collect_series(
    settings: Settings, series: Sequence[Series], days: Sequence[str], again: bool
) -> bool:
    """Collect the days of each series, and say what the lake holds then; whether all is there."""
    for stranger in set(series) - set(settings.series):
        console.print(f"{stranger} is not in COINBASE_SERIES: the web UI does not show it")
    settings = settings.model_copy(update={"series": tuple(dict.fromkeys(series))})
    with with_storage(settings) as settings, _store(settings) as store:
        try:
            outcomes = _collect(settings, store, days, again)
        except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
            console.print("Interrupted. All stored days stay; the same command goes on from there.")
            raise KeyboardInterrupt from None
        _print_status(settings, store)
    _print_failures(outcomes)
    return not any(outcome.missing or outcome.error for outcome in outcomes)


def _collect(
    settings: Settings, store: ParquetStore, days: Sequence[str], again: bool
) -> list[Outcome]:
    with _instance(settings.dagster_home) as instance:
        collector = Collector(build_definitions(settings), instance, store)
        plans = [collector.plan(series, days, again) for series in settings.series]
        requests = sum(plan.requests for plan in plans)
        names = ", ".join(map(str, settings.series))
        console.print(f"Collecting {names}, {days[0]} to {days[-1]}: {requests} requests")
        try:
            with progress(console, requests, settings.requests_per_second):
                return list(collector.collect_all(plans))
        except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
            _print_status(settings, store)
            raise


def show_status(settings: Settings) -> None:
    """Print a line a series."""
    with with_storage(settings) as settings, _store(settings) as store:
        _print_status(settings, store)


@contextmanager
def _store(settings: Settings) -> Iterator[ParquetStore]:
    with build_storage(settings, os.environ.__getitem__).get_client() as service:
        yield ParquetStore(service, settings.container)


@contextmanager
def _instance(home: Path) -> Iterator[dg.DagsterInstance]:
    """The Dagster instance, rid of runs whose process is gone."""
    try:
        with _open_instance(home) as instance:
            for run_id in fail_orphans(instance, home):
                console.print(f"Run {run_id} was left over by a killed process; marked as failed")
            yield instance
    except OperationalError as error:
        raise OSError(f"DAGSTER_HOME={home}: cannot be used ({error.orig})") from error


def _open_instance(home: Path) -> dg.DagsterInstance:
    try:
        # Dagster itself spoils a new instance that two processes create at once.
        with exclusive(home / "creating.lock"):
            return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home), overrides=_QUIET))
    except OSError as error:
        raise OSError(f"DAGSTER_HOME={home}: cannot be used ({error.strerror})") from error


def _print_status(settings: Settings, store: ParquetStore) -> None:
    now = datetime.now(UTC)
    rows = [("series", "candles", "first", "last", "days", "months", "age")]
    rows += [_cells(series_status(store, series), now) for series in settings.series]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        console.print("  ".join(cells).rstrip())
    console.print(f"Container {store.container_uri}; the history lies in candle_history/")


def _cells(status: SeriesStatus, now: datetime) -> tuple[str, str, str, str, str, str, str]:
    age = status.age(now)
    return (
        str(status.series),
        f"{status.candles:,}",
        f"{status.first_candle:%F %H:%M}" if status.first_candle else "-",
        f"{status.last_candle:%F %H:%M}" if status.last_candle else "-",
        str(status.days),
        str(status.months),
        "-" if age is None else str(max(age, timedelta(0))).split(".")[0],
    )


def _print_failures(outcomes: Sequence[Outcome]) -> None:
    for error in dict.fromkeys(str(outcome.error) for outcome in outcomes if outcome.error):
        errors.print(f"Error: {error}")
    for outcome in outcomes:
        if outcome.missing:
            shown = ", ".join(outcome.missing[:_MOST_NAMED])
            more = f" and {len(outcome.missing) - _MOST_NAMED} more"
            more = more if len(outcome.missing) > _MOST_NAMED else ""
            errors.print(f"{outcome.plan.series}: not collected: {shown}{more}")
