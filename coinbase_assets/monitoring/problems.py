"""What is wrong with series, as Dagster has recorded it: stale assets, checks, failed runs."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import dagster as dg
from dagster._core.definitions.freshness import FreshnessState
from dagster._core.storage.asset_check_execution_record import (
    AssetCheckExecutionRecord,
    AssetCheckExecutionRecordStatus,
)

from coinbase_assets.candles.datasets import (
    CANDLE_COVERAGE,
    CANDLE_HISTORY,
    CANDLE_ROLLUP,
    RAW_CANDLES,
)
from coinbase_assets.candles.series import Series
from coinbase_assets.dagster_instance.run_tags import LIVE, WILL_RETRY_TAG

_KINDS = (RAW_CANDLES, CANDLE_HISTORY, CANDLE_COVERAGE, CANDLE_ROLLUP)
_EVALUATED = {AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED}
_MOST_RUNS = 200

# Of each series: the failed run of each of its assets, and when it failed, in epoch seconds.
Failures = dict[str, dict[str, tuple[str, float]]]


def standing_problems(
    instance: dg.DagsterInstance, series: Sequence[Series], checks: Sequence[dg.AssetCheckKey]
) -> Mapping[str, list[str]]:
    """Of each series, by its name: its stale assets, and its checks that fail or warn."""
    problems = defaultdict[str, list[str]](list)
    for key, state in _freshness(instance, series):
        problems[_series_of(key)].append(f"{key.to_user_string()} is not fresh ({state.value})")
    for check, record in newest_results(instance, checks).items():
        if record.status == AssetCheckExecutionRecordStatus.FAILED:
            problems[_series_of(check.asset_key)].append(f"{check.name}: {_found(record)}")
    return problems


def failed_runs(
    instance: dg.DagsterInstance, since: datetime, known: Failures
) -> tuple[Failures, bool]:
    """The runs that failed since then or before, without those whose asset was materialised later.

    And whether any failed since then. A failed refresh, which the next one makes good, and a run
    that is retried do not count.
    """
    failures: Failures = {name: dict(assets) for name, assets in known.items()}
    filters = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=since)
    new = False
    for record in instance.get_run_records(filters, limit=_MOST_RUNS):
        run, when = record.dagster_run, record.end_time or since.timestamp()
        if LIVE in run.tags or run.tags.get(WILL_RETRY_TAG) == "true":
            continue
        for key in run.asset_selection or ():
            if key.path[-1] in {one.name for one in _KINDS}:
                failures.setdefault(_series_of(key), {})[key.to_user_string()] = run.run_id, when
                new = True
    return {
        name: left
        for name, assets in failures.items()
        if (left := {a: f for a, f in assets.items() if not _made_good(instance, a, f[1])})
    }, new


def shown_failures(failures: Failures) -> Mapping[str, list[str]]:
    return {
        name: [f"run {run_id[:8]} of {asset} failed" for asset, (run_id, _) in assets.items()]
        for name, assets in failures.items()
    }


def _series_of(key: dg.AssetKey) -> str:
    return ":".join(key.path[:2])


def _freshness(
    instance: dg.DagsterInstance, series: Sequence[Series]
) -> Iterator[tuple[dg.AssetKey, FreshnessState]]:
    keys = [dg.AssetKey(kind.asset_key(one)) for one in series for kind in _KINDS]
    for key, record in instance.get_freshness_state_records(keys).items():
        if record.freshness_state in (FreshnessState.WARN, FreshnessState.FAIL):
            yield key, record.freshness_state


def newest_results(
    instance: dg.DagsterInstance, checks: Sequence[dg.AssetCheckKey]
) -> Mapping[dg.AssetCheckKey, AssetCheckExecutionRecord]:
    """The newest result of each check; that of one which is under way is the one before."""
    storage = instance.event_log_storage
    newest = dict(storage.get_latest_asset_check_execution_by_key(checks))
    for check, record in list(newest.items()):
        if record.status not in _EVALUATED:
            before = storage.get_asset_check_execution_history(check, limit=1, status=_EVALUATED)
            newest.pop(check)
            newest.update((check, one) for one in before)
    return newest


def _found(record: AssetCheckExecutionRecord) -> str:
    event = record.event and record.event.dagster_event
    evaluation = event.asset_check_evaluation_data if event else None
    return (evaluation and evaluation.description) or "failed"


def _made_good(instance: dg.DagsterInstance, asset: str, failed_at: float) -> bool:
    event = instance.get_latest_materialization_event(dg.AssetKey.from_user_string(asset))
    return event is not None and event.timestamp > failed_at
