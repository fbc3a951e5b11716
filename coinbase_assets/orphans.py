"""Runs whose process was killed: recognised by the lock that died with it, and failed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from coinbase_assets.locks import exclusive, is_held, open_lock, try_exclusive


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
