"""Failed runs that left something undone, and why they failed."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import dagster as dg

from coinbase_assets.dagster_instance.deployment import OWN, Deployment
from coinbase_assets.dagster_instance.run_failures import failure_cause
from coinbase_assets.dagster_instance.run_tags import (
    LIVE,
    WILL_RETRY_TAG,
    partitions_of,
)
from coinbase_assets.monitoring.incidents import Problem
from coinbase_assets.monitoring.kinds import Kind
from coinbase_assets.monitoring.subjects import is_watched, subject_of

_MOST_RUNS = 200
# A live run that failed longer ago than this does not explain why candles are late now.
_RECENT = timedelta(hours=1)

# By subject and asset: the id of the asset's failed run, and when it failed, in epoch seconds.
Failures = dict[str, dict[str, tuple[str, float]]]


def failed_runs(instance: dg.DagsterInstance, failures: Failures) -> Iterator[Problem]:
    """Yield a problem for each of the assets whose newest run failed."""
    for subject, assets in failures.items():
        for asset, (run_id, _) in assets.items():
            yield Problem(
                subject,
                Kind.RUN_FAILED,
                f"run {run_id[:8]} of {asset} failed",
                urgent=True,
                cause=failure_cause(instance, run_id),
                page=f"/runs/{run_id}",
                remedy="re-execute the run on its page, or run coinbase-assets heal",
            )


def live_cause(instance: dg.DagsterInstance, now: datetime, deployment: Deployment = OWN) -> str:
    """Return why the newest live run failed; empty if it did not fail, or not recently."""
    newest = instance.get_run_records(
        dg.RunsFilter(
            tags=deployment.live_tag,
            statuses=[dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS],
            updated_after=now - _RECENT,
        ),
        limit=1,
    )
    runs = [record.dagster_run for record in newest]
    if not runs or runs[0].status != dg.DagsterRunStatus.FAILURE:
        return ""
    return failure_cause(instance, runs[0].run_id)


def update_failures(
    instance: dg.DagsterInstance,
    since: datetime,
    before: Failures,
    deployment: Deployment = OWN,
) -> Failures:
    """Return the failures of `before` and those after `since` that were not resolved.

    A failure is resolved when its asset is materialised later, and each partition of the run is
    recorded. Not counted are live runs, because the next live run asks for the same candles, and
    runs that Dagster retries.
    """
    failures: Failures = {subject: dict(assets) for subject, assets in before.items()}
    filters = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=since)
    for record in instance.get_run_records(filters, limit=_MOST_RUNS):
        run, when = record.dagster_run, record.end_time or since.timestamp()
        if LIVE in run.tags or run.tags.get(WILL_RETRY_TAG) == "true":
            continue
        for key in run.asset_selection or ():
            if is_watched(key, deployment):
                of_subject = failures.setdefault(subject_of(key, deployment), {})
                of_subject[key.to_user_string()] = run.run_id, when
    return {
        subject: left
        for subject, assets in failures.items()
        if (left := {a: f for a, f in assets.items() if _is_standing(instance, deployment, a, *f)})
    }


def _is_standing(
    instance: dg.DagsterInstance, deployment: Deployment, asset: str, run_id: str, failed_at: float
) -> bool:
    """Whether the asset was not materialised since, or a partition of the run never was.

    Keys of the old form do not count.
    """
    key = dg.AssetKey.from_user_string(asset)
    if not is_watched(key, deployment):
        return False
    event = instance.get_latest_materialization_event(key)
    return event is None or event.timestamp <= failed_at or _left_out(instance, key, run_id)


def _left_out(instance: dg.DagsterInstance, key: dg.AssetKey, run_id: str) -> bool:
    run = instance.get_run_by_id(run_id)
    wanted = partitions_of(run.tags) if run else ()
    return bool({*wanted} - instance.get_materialized_partitions(key))
