"""What the commands do: the lake opened, the work done, its result printed."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
from rich.console import Console

from coinbase_assets.alerts import load_state
from coinbase_assets.assets import candle_chart
from coinbase_assets.collect import Collector, Outcome, Plan
from coinbase_assets.days import DAY
from coinbase_assets.definitions import build_definitions, build_storage
from coinbase_assets.embedded import with_storage
from coinbase_assets.exchange.errors import ExchangeUnreachable
from coinbase_assets.exchange.host_name import unknown_host
from coinbase_assets.freshness import freshness_windows
from coinbase_assets.healing import plan_healing
from coinbase_assets.instance import open_instance
from coinbase_assets.lake import stored_series
from coinbase_assets.memory import share_free_memory
from coinbase_assets.orphans import fail_orphans
from coinbase_assets.progress import progress
from coinbase_assets.report import print_json, print_status
from coinbase_assets.series import Series
from coinbase_assets.settings import Settings
from coinbase_assets.storage.errors import PartitionMissing
from coinbase_assets.storage.parquet_store import ParquetStore

_MOST_NAMED = 10
_UNREACHABLE = "; check the network, HTTPS_PROXY and COINBASE_API_URL, or try it offline: make demo"

console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def collect_series(
    settings: Settings, series: Sequence[Series], days: Sequence[str], again: bool
) -> bool:
    """Collect the days of each series, and say what the lake holds then; whether all is there."""
    series = _wanted(settings, series)

    def plan(collector: Collector) -> list[Plan]:
        return [collector.plan(one, days, again) for one in series]

    names = ", ".join(map(str, series))
    return _carry_out(settings, series, plan, f"Collecting {names}, {days[0]} to {days[-1]}")


def heal_series(
    settings: Settings, series: Sequence[Series], first: date | None, last: date | None, dry: bool
) -> bool:
    """Collect again what is not explained; whether all of it was answered, or none was asked."""
    series, today = _wanted(settings, series), datetime.now(UTC).date()

    def plan(collector: Collector) -> list[Plan]:
        begin = max(settings.start, first or settings.start)
        plans = plan_healing(collector, series, today, begin, last or today)
        if not plans:
            console.print("Nothing to heal: every bucket is explained.")
        for one in plans:
            console.print(f"{one.series}: {_listed(one.days)}")
        return plans

    return _carry_out(settings, series, plan, "Healing", dry)


def _wanted(settings: Settings, series: Sequence[Series]) -> list[Series]:
    for stranger in set(series) - set(settings.series):
        console.print(f"{stranger} is not in COINBASE_SERIES: the web UI does not show it")
    return list(dict.fromkeys(series))


def _carry_out(
    settings: Settings,
    series: Sequence[Series],
    make_plans: Callable[[Collector], Sequence[Plan]],
    title: str,
    dry: bool = False,
) -> bool:
    """Collect what is planned, and print the status of the series; whether all is there."""
    share_free_memory()
    known = {"series": tuple(dict.fromkeys([*settings.series, *series]))}
    with with_storage(settings.model_copy(update=known)) as settings, _store(settings) as store:
        try:
            outcomes = _collect(settings, store, make_plans, title, dry)
        except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
            console.print("Interrupted. All stored days stay; the same command goes on from there.")
            raise KeyboardInterrupt from None
        if not dry:
            print_status(console, store, series)
    _print_failures(outcomes)
    return not any(outcome.missing or outcome.error for outcome in outcomes)


def _collect(
    settings: Settings,
    store: ParquetStore,
    make_plans: Callable[[Collector], Sequence[Plan]],
    title: str,
    dry: bool,
) -> list[Outcome]:
    with _instance(settings.dagster_home) as instance:
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
            print_status(console, store, [plan.series for plan in plans])
            raise


def show_status(settings: Settings, as_json: bool) -> bool:
    """Print what is known of each series, and what is wrong now; whether all are complete."""
    with (
        with_storage(settings) as settings,
        _store(settings) as store,
        _instance(settings.dagster_home) as instance,
    ):
        incidents = load_state(instance).incidents
        if as_json:
            windows = {one: freshness_windows(one, settings) for one in settings.series}
            return print_json(store, windows, incidents)
        complete = print_status(console, store, settings.series)
        for one in incidents:
            for name, problems in one.open.items():
                console.print(f"Since {one.began}, {name}: {'; '.join(problems)}")
        return complete


def plot_series(
    settings: Settings, series: Series, first: date | None, last: date | None, file: Path
) -> None:
    """Draw the days, by default the last there are, and print the file's name.

    Raises PartitionMissing if the lake holds no candles of them.
    """
    with with_storage(settings) as settings, _store(settings) as store:
        newest = candle_chart.last_candle(store, series)
        if not newest:
            raise PartitionMissing(f"{series}: not in the lake; {_stored_series(store)}")
        until = last or newest.date()
        since = first or until - (candle_chart.DAYS - 1) * DAY
        figure = candle_chart.draw_days(store, series, since, until, until)
    if not figure:
        raise PartitionMissing(
            f"{series}: no candles from {since} to {until}; the newest is of {newest:%F}"
        )
    from coinbase_assets.charts import render

    file.write_bytes(render(figure, file.suffix.lower().removeprefix(".")))
    console.print(str(file), markup=False)


def _stored_series(store: ParquetStore) -> str:
    names = list(map(str, stored_series(store)))
    return f"it holds {_listed(names)}" if names else "it holds no history; collect some first"


@contextmanager
def _store(settings: Settings) -> Iterator[ParquetStore]:
    with build_storage(settings, os.environ.__getitem__).get_client() as service:
        yield ParquetStore(service, settings.container)


@contextmanager
def _instance(home: Path) -> Iterator[dg.DagsterInstance]:
    """The Dagster instance, rid of runs whose process is gone, and of one that Ctrl-C cut short."""
    with open_instance(home) as instance:
        for run_id in fail_orphans(instance, home):
            console.print(f"Run {run_id} was left over by a killed process; marked as failed")
        try:
            yield instance
        finally:
            fail_orphans(instance, home)


def _print_failures(outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        if outcome.missing:
            errors.print(f"{outcome.plan.series}: not collected: {_listed(outcome.missing)}")
    for error in dict.fromkeys(_with_remedy(one.error) for one in outcomes if one.error):
        errors.print(f"Error: {error}")


def _with_remedy(error: Exception) -> str:
    return f"{error}{_UNREACHABLE}" if isinstance(error, ExchangeUnreachable) else str(error)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
