"""Finds what is wrong, as Dagster has recorded it: stale assets, failed checks, failed runs.

To report another kind of problem, write a function that yields `Problem`s and add it to
`find_problems`; incidents and messages follow.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import dagster as dg

from coinbase_assets.candles.datasets import (
    CANDLE_COVERAGE,
    CANDLE_HISTORY,
    CANDLE_ROLLUP,
    RAW_CANDLES,
)
from coinbase_assets.candles.series import Series
from coinbase_assets.dagster_instance.private_names import (
    CHECK_FAILED,
    EVALUATED_CHECKS,
    NOT_FRESH,
)
from coinbase_assets.dagster_instance.run_tags import LIVE, WILL_RETRY_TAG
from coinbase_assets.environment.secrets import public
from coinbase_assets.monitoring.incidents import Problem

if TYPE_CHECKING:
    from coinbase_assets.dagster_instance.private_names import AssetCheckExecutionRecord

_WATCHED = (RAW_CANDLES, CANDLE_HISTORY, CANDLE_COVERAGE, CANDLE_ROLLUP)
_MOST_RUNS = 200

# By subject and asset: the id of the asset's failed run, and when it failed, in epoch seconds.
Failures = dict[str, dict[str, tuple[str, float]]]


def find_problems(
    instance: dg.DagsterInstance,
    series: Sequence[Series],
    checks: Sequence[dg.AssetCheckKey],
    failures: Failures,
) -> list[Problem]:
    """Returns the problems of these series and checks, and of the failed runs."""
    return [
        *_stale_assets(instance, series),
        *_failed_checks(instance, checks),
        *_failed_runs(failures),
    ]


def watched_subjects(
    series: Sequence[Series], checks: Sequence[dg.AssetCheckKey], failures: Failures
) -> set[str]:
    """Returns the subjects that `find_problems` looks at when it is given the same arguments."""
    return {*map(str, series), *(_subject_of(check.asset_key) for check in checks), *failures}


def _stale_assets(instance: dg.DagsterInstance, series: Sequence[Series]) -> Iterator[Problem]:
    keys = [dg.AssetKey(dataset.asset_key(one)) for one in series for dataset in _WATCHED]
    for key, record in instance.get_freshness_state_records(keys).items():
        state = record.freshness_state
        if state in NOT_FRESH:
            text = f"{key.to_user_string()} is not fresh ({state.value})"
            yield Problem(_subject_of(key), "not_fresh", text)


def _failed_checks(
    instance: dg.DagsterInstance, checks: Sequence[dg.AssetCheckKey]
) -> Iterator[Problem]:
    for check, record in newest_results(instance, checks).items():
        if record.status == CHECK_FAILED:
            text = f"{check.name}: {_description(record)}"
            yield Problem(_subject_of(check.asset_key), "check_failed", text)


def _failed_runs(failures: Failures) -> Iterator[Problem]:
    for subject, assets in failures.items():
        for asset, (run_id, _) in assets.items():
            text = f"run {run_id[:8]} of {asset} failed"
            yield Problem(subject, "run_failed", text, urgent=True)


def update_failures(instance: dg.DagsterInstance, since: datetime, before: Failures) -> Failures:
    """Return the failures of `before` and those after `since` that were not resolved.

    A failure is resolved when its asset is materialised later. Not counted are live runs, because
    the next live run asks for the same candles, and runs that Dagster retries.
    """
    failures: Failures = {subject: dict(assets) for subject, assets in before.items()}
    filters = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=since)
    for record in instance.get_run_records(filters, limit=_MOST_RUNS):
        run, when = record.dagster_run, record.end_time or since.timestamp()
        if LIVE in run.tags or run.tags.get(WILL_RETRY_TAG) == "true":
            continue
        for key in run.asset_selection or ():
            if _is_watched(key):
                failures.setdefault(_subject_of(key), {})[key.to_user_string()] = run.run_id, when
    return {
        subject: left
        for subject, assets in failures.items()
        if (left := {a: f for a, f in assets.items() if _is_standing(instance, a, f[1])})
    }


def newest_results(
    instance: dg.DagsterInstance, checks: Sequence[dg.AssetCheckKey]
) -> "Mapping[dg.AssetCheckKey, AssetCheckExecutionRecord]":
    """Returns the newest result of each check. While a check runs, that is its previous result."""
    storage = instance.event_log_storage
    newest = dict(storage.get_latest_asset_check_execution_by_key(checks))
    for check, record in list(newest.items()):
        if record.status not in EVALUATED_CHECKS:
            evaluated = storage.get_asset_check_execution_history(
                check, limit=1, status=EVALUATED_CHECKS
            )
            newest.pop(check)
            newest.update((check, earlier) for earlier in evaluated)
    return newest


def _subject_of(key: dg.AssetKey) -> str:
    """The series of an asset, as `ETH-EUR:15m`; of an asset that has no series, its name."""
    return ":".join(key.path[:-1]) or key.path[-1]


def _description(record: "AssetCheckExecutionRecord") -> str:
    event = record.event and record.event.dagster_event
    evaluation = event.asset_check_evaluation_data if event else None
    return public((evaluation and evaluation.description) or "failed")


def _is_watched(asset: dg.AssetKey) -> bool:
    return asset.path[-1] in {dataset.name for dataset in _WATCHED}


def _is_standing(instance: dg.DagsterInstance, asset: str, failed_at: float) -> bool:
    """Whether the asset was not materialised since. Keys of the old form do not count."""
    key = dg.AssetKey.from_user_string(asset)
    event = instance.get_latest_materialization_event(key)
    return _is_watched(key) and (event is None or event.timestamp <= failed_at)
