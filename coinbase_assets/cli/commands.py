"""What the commands do: open the lake, do the work, print the result."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg

from coinbase_assets.automation.collector import Collector, Outcome, Plan
from coinbase_assets.automation.healing import plan_healing, plan_trades, verify_series
from coinbase_assets.candles.blob_rules import LakeRules
from coinbase_assets.candles.calendar import DAY
from coinbase_assets.candles.series import Series
from coinbase_assets.cli.alerts import print_incidents
from coinbase_assets.cli.collected import remember_collected_series
from coinbase_assets.cli.console import console, errors
from coinbase_assets.cli.last_join import join_landed
from coinbase_assets.cli.parameters import refuse_too_many
from coinbase_assets.cli.partitions_start import with_first_day
from coinbase_assets.cli.progress import progress
from coinbase_assets.cli.status_report import print_json, print_status, print_with_problems
from coinbase_assets.dagster_instance.opening import open_instance
from coinbase_assets.dagster_instance.orphaned_runs import fail_orphans
from coinbase_assets.definitions import build_definitions
from coinbase_assets.exchange.errors import ExchangeUnreachable, ProductRemoved
from coinbase_assets.exchange.host_name import unknown_host
from coinbase_assets.lake import charts
from coinbase_assets.lake.account import open_container, with_storage
from coinbase_assets.lake.candle_months import stored_series
from coinbase_assets.lake.replaced_files import replaced
from coinbase_assets.monitoring.alert_state import load_state
from coinbase_assets.monitoring.freshness import freshness_windows
from coinbase_assets.process_tuning import share_free_memory
from coinbase_assets.settings import Settings
from coinbase_assets.storage.errors import PartitionMissing
from coinbase_assets.storage.parquet_store import ParquetStore

_MOST_NAMED = 10
_UNREACHABLE = "; check the network, HTTPS_PROXY and COINBASE_API_URL, or try it offline: make demo"


def collect_series(
    settings: Settings, series: Sequence[Series], days: Sequence[str], again: bool
) -> bool:
    """Collect the days of each series, and print the status of the lake.

    Returns whether all days were collected.
    """
    series = _distinct_series(settings, series)

    def plan(collector: Collector) -> list[Plan]:
        return [collector.plan(each, days, again) for each in series]

    names = ", ".join(map(str, series))
    title = f"Collecting {names}, {days[0]} to {days[-1]}"
    return _run_plans(settings, series, plan, title, first=date.fromisoformat(days[0]))


def heal_series(
    settings: Settings,
    series: Sequence[Series],
    first: date | None,
    last: date | None,
    dry: bool,
    trades: bool,
    verify: bool,
) -> bool:
    """Collect again the days from `first` to `last` that have an unexplained interval.

    With `trades`, all stored days with a hole, whose trades are read as well. With `verify`, reads
    all files first. Returns whether all of these days were collected. If `dry`, only prints them.
    """
    series, today = _distinct_series(settings, series), datetime.now(UTC).date()

    def plan(collector: Collector) -> list[Plan]:
        begin = max(settings.start, first or settings.start)
        for each in series if verify else ():
            damaged = verify_series(collector.store, each, collector.rollups(each))
            console.print(f"{each}: {len(damaged)} damaged files{_after_colon(damaged)}")
        if trades:
            plans = plan_trades(collector, series, begin, last or today)
        else:
            plans = plan_healing(collector, series, today, begin, last or today)
        if not plans:
            console.print(
                f"Nothing to heal: all is explained from {begin} on, and no file is damaged."
            )
        for healing in plans:
            console.print(f"{healing.series}: {_listed(healing.days) or 'built from the lake'}")
        return plans

    return _run_plans(settings, series, plan, "Healing", dry)


def _distinct_series(settings: Settings, series: Sequence[Series]) -> list[Series]:
    """Return each series once, and print which of them are not configured."""
    for extra in set(series) - set(settings.series):
        console.print(f"{extra} is not in COINBASE_SERIES, so the schedules leave it out")
    return list(dict.fromkeys(series))


def _run_plans(
    settings: Settings,
    series: Sequence[Series],
    make_plans: Callable[[Collector], Sequence[Plan]],
    title: str,
    dry: bool = False,
    first: date | None = None,
) -> bool:
    """Collect what is planned, and print the status of the series and the failures.

    The partitions begin on `first` or earlier, if given. Returns whether all was collected.
    """
    share_free_memory()
    all_series = {"series": tuple(dict.fromkeys([*settings.series, *series]))}
    settings = settings.model_copy(update=all_series)
    with with_storage(settings) as settings, _store(settings) as store:
        try:
            outcomes = _collect(settings, store, make_plans, title, dry, first)
        except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
            console.print(
                "Interrupted. The stored days are kept; the same command collects the rest."
            )
            raise KeyboardInterrupt from None
        if not dry:
            print_status(console, store, series, settings.rollups)
    _print_failures(outcomes)
    return not any(outcome.failed for outcome in outcomes)


def _collect(
    settings: Settings,
    store: ParquetStore,
    make_plans: Callable[[Collector], Sequence[Plan]],
    title: str,
    dry: bool,
    first: date | None,
) -> list[Outcome]:
    with _instance(settings.dagster_home) as instance:
        if first:
            settings = with_first_day(settings, first, instance, store)
        job = build_definitions(settings).resolve_implicit_global_asset_job_def()
        collector = Collector(job, instance, store)
        plans = make_plans(collector)
        requests = sum(plan.requests for plan in plans)
        console.print(f"{title}: {requests} requests")
        if dry:
            return []
        try:
            with progress(console, requests, settings.requests_per_second):
                outage = unknown_host(settings.api_url) if requests else None
                return list(collector.collect_all(plans, outage))
        except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
            series = [plan.series for plan in plans]
            join_landed(console, collector, series)
            print_status(console, store, series, settings.rollups)
            raise
        finally:
            remember_collected_series(settings, instance)


def show_status(settings: Settings, as_json: bool) -> bool:
    """Print the status of each series and its problems.

    Returns whether all are complete and fresh.
    """
    with (
        with_storage(settings) as settings,
        _store(settings) as store,
        _instance(settings.dagster_home) as instance,
    ):
        incidents = load_state(instance).incidents
        windows = {each: freshness_windows(each, settings) for each in settings.series}
        if as_json:
            return print_json(store, windows, incidents, settings.rollups)
        return print_with_problems(console, store, windows, incidents, settings.rollups)


def show_incidents(settings: Settings) -> bool:
    """Print the open incidents. Returns whether there are any."""
    with _instance(settings.dagster_home) as instance:
        incidents = load_state(instance).incidents
    print_incidents(incidents, datetime.now(UTC))
    return bool(incidents)


def plot_series(
    settings: Settings,
    series: Series,
    first: date | None,
    last: date | None,
    file: Path,
    step: int | None = None,
) -> None:
    """Draw the days from `first` to `last`, both inclusive, and print the name of the file.

    By default, draws the newest DAYS days. The candles drawn have `step` seconds, by default as few
    as fit. Raises PartitionMissing if there is no candle.
    """
    with with_storage(settings) as settings, _store(settings) as store:
        newest = charts.last_candle(store, series)
        if not newest:
            raise PartitionMissing(f"{series}: not in the lake; {_stored_series(store)}")
        last = last or newest.date()
        first = first or last - (charts.DAYS - 1) * DAY
        if step:
            refuse_too_many(first, last, step)
        figure = charts.draw_days(store, series, first, last, last, step)
    if not figure:
        raise PartitionMissing(
            f"{series}: no candles from {first} to {last}; the newest is from {newest:%F}"
        )
    from coinbase_assets.lake.drawing import render

    with replaced(file) as part:
        part.write_bytes(render(figure, file.suffix.lower().removeprefix(".")))
    console.print(str(file))


def _stored_series(store: ParquetStore) -> str:
    names = list(map(str, stored_series(store)))
    return f"it holds {_listed(names)}" if names else "it holds no history yet; run collect first"


@contextmanager
def _store(settings: Settings) -> Iterator[ParquetStore]:
    with open_container(settings.container, settings.storage_account) as source:
        yield ParquetStore(source, LakeRules())


@contextmanager
def _instance(home: Path) -> Iterator[dg.DagsterInstance]:
    """Open the Dagster instance, and mark the runs of killed processes as failed.

    On leaving, do the same for a run that Ctrl-C interrupted.
    """
    with open_instance(home) as instance:
        for run_id in fail_orphans(instance, home):
            console.print(f"The process of run {run_id} was killed; the run is marked as failed")
        try:
            yield instance
        finally:
            fail_orphans(instance, home)


def _print_failures(outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        if outcome.missing:
            errors.print(f"{outcome.plan.series}: not collected: {_listed(outcome.missing)}")
    messages = (_message(outcome.error) for outcome in outcomes if outcome.error)
    for message in dict.fromkeys(messages):
        errors.print(message)


def _message(error: Exception) -> str:
    if isinstance(error, ProductRemoved):
        return str(error)
    remedy = _UNREACHABLE if isinstance(error, ExchangeUnreachable) else ""
    return f"Error: {error}{remedy}"


def _after_colon(names: Sequence[str]) -> str:
    return f": {_listed(names)}" if names else ""


def _listed(names: Sequence[str]) -> str:
    """Return the first names as text, and how many more there are."""
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
