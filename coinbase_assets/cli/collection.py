"""What `collect` and `heal` do: plan, collect, and print what is stored and what is missing."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta

import dagster as dg

from coinbase_assets.automation.collector import Collector
from coinbase_assets.automation.healing import plan_healing, plan_trades, verify_series
from coinbase_assets.automation.plans import Outcome, Plan
from coinbase_assets.candles.calendar import as_ranges
from coinbase_assets.candles.series import Series
from coinbase_assets.cli.catalogue import UNREACHABLE
from coinbase_assets.cli.collected import remember_collected_series
from coinbase_assets.cli.console import console, errors
from coinbase_assets.cli.last_join import join_landed
from coinbase_assets.cli.opened import opened_instance
from coinbase_assets.cli.partitions_start import with_first_day
from coinbase_assets.cli.progress import progress
from coinbase_assets.cli.status_report import print_status
from coinbase_assets.definitions import build_definitions
from coinbase_assets.exchange.budget import BURST
from coinbase_assets.exchange.errors import ExchangeUnreachable, ProductRemoved
from coinbase_assets.exchange.host_name import unknown_host
from coinbase_assets.settings import Settings
from coinbase_assets.storage.parquet_store import ParquetStore

_MOST_NAMED = 10


def collect_series(
    settings: Settings,
    store: ParquetStore,
    series: Sequence[Series],
    days: Sequence[str],
    again: bool,
    dry: bool,
) -> bool:
    """Collect the days of each series, and print the status of the lake at `store`.

    Returns whether all days were collected. If `dry`, only prints the plan.
    """
    series = _distinct_series(settings, series)

    def plan(collector: Collector) -> list[Plan]:
        return [collector.plan(each, days, again) for each in series]

    title = f"Collecting {_listed(list(map(str, series)))}, {days[0]} to {days[-1]}"
    return _run_plans(settings, store, series, plan, title, dry, first=date.fromisoformat(days[0]))


def heal_series(
    settings: Settings,
    store: ParquetStore,
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
        return plans

    return _run_plans(settings, store, series, plan, "Healing", dry)


def _distinct_series(settings: Settings, series: Sequence[Series]) -> list[Series]:
    """Return each series once, and print which of them are not configured."""
    distinct = list(dict.fromkeys(series))
    extra = [str(each) for each in distinct if each not in settings.series]
    where = "COINBASE_SERIES"
    if settings.shard:
        where = f"the part of {where} that COINBASE_SHARD={settings.shard} has"
    if len(extra) == 1:
        console.print(f"{extra[0]} is not in {where}, so the schedules leave it out")
    elif extra:
        console.print(f"Not in {where}, so the schedules leave them out: {_listed(extra)}")
    return distinct


def _run_plans(
    settings: Settings,
    store: ParquetStore,
    series: Sequence[Series],
    make_plans: Callable[[Collector], Sequence[Plan]],
    title: str,
    dry: bool = False,
    first: date | None = None,
) -> bool:
    """Collect what is planned, and print the status of the series and the failures.

    The partitions begin on `first` or earlier, if given. Returns whether all was collected.
    """
    all_series = {"series": tuple(dict.fromkeys([*settings.series, *series]))}
    settings = settings.model_copy(update=all_series)
    try:
        outcomes = _collect(settings, store, make_plans, title, dry, first)
    except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
        console.print("Interrupted. The stored days are kept; the same command collects the rest.")
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
    with opened_instance(settings.dagster_home) as instance:
        if first:
            settings = with_first_day(settings, first, instance, store)
        job = build_definitions(settings).resolve_implicit_global_asset_job_def()
        collector = Collector(job, instance, store)
        plans = make_plans(collector)
        requests = sum(plan.requests for plan in plans)
        console.print(f"{title}: {requests} requests{_at_limit(requests, settings)}")
        if dry or len(plans) > 1:
            for each in plans:
                console.print(_in_a_line(each))
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


def _at_limit(requests: int, settings: Settings) -> str:
    """Say how long the requests take at the exchange's limit."""
    rate = settings.requests_per_second
    seconds = timedelta(seconds=math.ceil(max(0, requests - BURST) / rate))
    return f", {seconds} at {rate:g} a second" if seconds else ""


def _in_a_line(plan: Plan) -> str:
    days = [day for run in plan.runs for day in run]
    if not days:
        return f"{plan.series}: nothing to ask for"
    count = "1 day" if len(days) == 1 else f"{len(days)} days"
    return f"{plan.series}: {count}, {plan.requests} requests: {as_ranges(days)}"


def _print_failures(outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        if outcome.missing:
            errors.print(f"{outcome.plan.series}: not collected: {_as_ranges(outcome.missing)}")
    messages = (_message(outcome.error) for outcome in outcomes if outcome.error)
    for message in dict.fromkeys(messages):
        errors.print(message)


def _message(error: Exception) -> str:
    if isinstance(error, ProductRemoved):
        return str(error)
    remedy = f"; {UNREACHABLE}" if isinstance(error, ExchangeUnreachable) else ""
    return f"Error: {error}{remedy}"


def _as_ranges(partitions: Sequence[str]) -> str:
    """Return the names of partitions, such as `raw_candles 2024-01-01`, with ranges of keys."""
    keys = defaultdict[str, list[str]](list)
    for partition in partitions:
        name, _, key = partition.rpartition(" ")
        keys[name].append(key)
    return "; ".join(f"{name} {as_ranges(sorted(keys[name]))}" for name in keys)


def _after_colon(names: Sequence[str]) -> str:
    return f": {_listed(names)}" if names else ""


def _listed(names: Sequence[str]) -> str:
    """Return the first names as text, and how many more there are."""
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
