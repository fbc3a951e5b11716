"""Finds what is wrong, as Dagster has recorded it: stale assets, failed checks, failed runs.

To report another kind of problem, add it to kinds.py, write a function that yields `Problem`s, and
add it to `find_problems`; incidents and messages follow.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING

import dagster as dg

from coinbase_assets.candles.datasets import CANDLE_REVISIONS, PRODUCTS
from coinbase_assets.candles.metadata_keys import DELISTED
from coinbase_assets.candles.series import Series
from coinbase_assets.dagster_instance.deployment import OWN, Deployment
from coinbase_assets.dagster_instance.private_names import (
    CHECK_FAILED,
    EVALUATED_CHECKS,
    NOT_FRESH,
    FreshnessState,
)
from coinbase_assets.environment.secrets import public
from coinbase_assets.monitoring.destinations import Level
from coinbase_assets.monitoring.failed_runs import Failures, failed_runs, live_cause
from coinbase_assets.monitoring.incidents import Problem
from coinbase_assets.monitoring.kinds import OF_CHECKS, Kind
from coinbase_assets.monitoring.subjects import WATCHED, page_of, subject_of

if TYPE_CHECKING:
    from coinbase_assets.dagster_instance.private_names import AssetCheckExecutionRecord

_REMEDIES = {
    Kind.STALE: "collecting goes on by itself once the cause is gone; coinbase-assets status",
    Kind.INCOMPLETE: "coinbase-assets heal asks the exchange again",
    Kind.CHANGED: f"the values before are in the table {CANDLE_REVISIONS.name}",
    Kind.INVALID: "coinbase-assets heal --verify",
}
_LEVELS = {
    FreshnessState.WARN: Level.WARNING,
    dg.AssetCheckSeverity.WARN: Level.WARNING,
}


def find_problems(
    instance: dg.DagsterInstance,
    series: Sequence[Series],
    checks: Sequence[dg.AssetCheckKey],
    failures: Failures,
    now: datetime,
    deployment: Deployment = OWN,
) -> list[Problem]:
    """Return the problems of these series and checks, and of the failed runs.

    There is one of each kind with a subject.
    """
    delisted = list(_delisted(instance, series, deployment))
    over = {(problem.subject, Kind.STALE) for problem in delisted}
    found = _merged(
        [
            *_failed_checks(instance, checks, deployment),
            *_stale_assets(instance, series, deployment),
            *failed_runs(instance, failures),
            *delisted,
        ]
    )
    problems = [each for each in found if (each.subject, each.kind) not in over]
    if not any(each.kind == Kind.STALE for each in problems):
        return problems
    cause = live_cause(instance, now, deployment)
    return [replace(p, cause=cause) if p.kind == Kind.STALE else p for p in problems]


def watched_subjects(
    series: Sequence[Series],
    checks: Sequence[dg.AssetCheckKey],
    failures: Failures,
    deployment: Deployment = OWN,
) -> set[str]:
    """Return the subjects that `find_problems` looks at when it is given the same arguments."""
    of_checks = (subject_of(check.asset_key, deployment) for check in checks)
    return {*map(str, series), *of_checks, *failures}


def _merged(problems: Iterable[Problem]) -> Iterator[Problem]:
    """Yield a problem for each subject and kind; the first of them has the page and the remedy.

    All stale assets of a series have one cause, so the first text says enough.
    """
    key = attrgetter("subject", "kind")
    for (_, kind), group in groupby(sorted(problems, key=key), key):
        same = list(group)
        texts = list(dict.fromkeys(problem.text for problem in same))
        yield replace(
            same[0],
            text=texts[0] if kind == Kind.STALE else "; ".join(texts),
            severity=max(problem.severity for problem in same),
            size=1 if kind == Kind.STALE else sum(problem.size for problem in same),
        )


def _stale_assets(
    instance: dg.DagsterInstance, series: Sequence[Series], deployment: Deployment
) -> Iterator[Problem]:
    keys = [deployment.key(dataset, one) for one in series for dataset in WATCHED]
    for key, record in instance.get_freshness_state_records(keys).items():
        state = record.freshness_state
        if state in NOT_FRESH:
            name = deployment.dataset_key(key).path[-1]
            text = f"{name} was not updated in time"
            yield _problem(deployment, key, Kind.STALE, text, _LEVELS.get(state, Level.FAILURE))


def _failed_checks(
    instance: dg.DagsterInstance, checks: Sequence[dg.AssetCheckKey], deployment: Deployment
) -> Iterator[Problem]:
    for check, record in newest_results(instance, checks).items():
        if record.status != CHECK_FAILED:
            continue
        evaluation = _evaluation(record)
        text = public((evaluation and evaluation.description) or "failed")
        found = evaluation and evaluation.metadata.get("found")
        size = found.value if found and isinstance(found.value, int) else 1
        kind = OF_CHECKS.get(check.name, Kind.INVALID)
        text = f"{check.name}: {text}" if kind == Kind.INVALID else text
        severity = evaluation and evaluation.severity
        level = _LEVELS.get(severity, Level.FAILURE) if severity else Level.FAILURE
        yield replace(_problem(deployment, check.asset_key, kind, text, level), size=size)


def _problem(
    deployment: Deployment, key: dg.AssetKey, kind: Kind, text: str, severity: Level
) -> Problem:
    remedy, subject = _REMEDIES[kind], subject_of(key, deployment)
    return Problem(subject, kind, text, severity, page=page_of(key), remedy=remedy)


def _delisted(
    instance: dg.DagsterInstance, series: Sequence[Series], deployment: Deployment
) -> Iterator[Problem]:
    key = deployment.key(PRODUCTS)
    event = instance.get_latest_materialization_event(key)
    materialization = event and event.asset_materialization
    if not materialization or not (value := materialization.metadata.get(DELISTED)):
        return
    products = str(value.value).split(", ")
    for each in series:
        if each.product in products:
            yield Problem(
                str(each),
                Kind.DELISTED,
                "there will be no new candles; the stored ones stay",
                Level.INFO,
                page=page_of(key),
                remedy=f"take {each} out of COINBASE_SERIES when you like",
            )


def newest_results(
    instance: dg.DagsterInstance, checks: Sequence[dg.AssetCheckKey]
) -> "Mapping[dg.AssetCheckKey, AssetCheckExecutionRecord]":
    """Return the newest result of each check. While a check runs, that is its previous result."""
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


def _evaluation(record: "AssetCheckExecutionRecord") -> dg.AssetCheckEvaluation | None:
    event = record.event and record.event.dagster_event
    return event.asset_check_evaluation_data if event else None
