"""Runs whose process was killed: recognised by the lock that died with it, and failed."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg

from coinbase_assets.dagster_instance.private_names import (
    RunFailureReason,
    auto_reexecution_should_retry_run,
)
from coinbase_assets.dagster_instance.run_tags import RUN_FAILURE_REASON_TAG, WILL_RETRY_TAG
from coinbase_assets.file_locks import exclusive, is_held, open_lock, try_exclusive


@contextmanager
def run_lock(dagster_home: Path, run_id: str) -> Iterator[None]:
    """Hold the lock by which others tell that the run's process lives; its file stays.

    Hold it until the run's end is recorded.
    """
    locks = _folder(dagster_home)
    with exclusive(locks / "changing"):
        lock = open_lock(locks / f"{run_id}.lock")
        try_exclusive(lock)
    with lock:
        yield


def fail_orphans(instance: dg.DagsterInstance, dagster_home: Path) -> list[str]:
    """Fail the unfinished runs of processes that are gone, so that they hold nothing back.

    Returns the ids of those runs.
    """
    orphans = []
    locks = _folder(dagster_home)
    with exclusive(locks / "changing"):
        for lock in locks.glob("*.lock"):
            if is_held(lock):
                continue
            if _fail(instance, lock.stem):
                orphans.append(lock.stem)
            lock.unlink()
    return orphans


def without_their_retry(instance: dg.DagsterInstance, now: datetime) -> list[dg.DagsterRun]:
    """The last day's failed runs that are due a retry, but that Dagster has given up.

    It does so for ever where it finds no code server at the moment it would launch the retry.
    """
    given_up = dg.RunsFilter(
        statuses=[dg.DagsterRunStatus.FAILURE],
        tags={WILL_RETRY_TAG: "false"},
        updated_after=now - timedelta(days=1),
    )
    return [run for run in instance.get_runs(given_up) if _is_due_a_retry(instance, run)]


def _is_due_a_retry(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    reason = run.tags.get(RUN_FAILURE_REASON_TAG)
    return auto_reexecution_should_retry_run(
        instance, run, RunFailureReason(reason) if reason else None
    )


def _fail(instance: dg.DagsterInstance, run_id: str) -> bool:
    """End the run as what it would have become; whether it had not ended."""
    run = instance.get_run_by_id(run_id)
    if run is None or run.is_finished:
        return False
    if run.status == dg.DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run)
    else:
        instance.report_run_failed(run, "The process of this run was killed.")
    return True


def _folder(dagster_home: Path) -> Path:
    return dagster_home / "processes"
