"""Runs whose process was killed: recognised by the lock that died with it, and failed."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from coinbase_assets.locks import is_held, open_lock, try_exclusive

_TAG = "coinbase_assets/process"
_UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@contextmanager
def process_tags(dagster_home: Path) -> Iterator[dict[str, str]]:
    """Tags for the runs of this process, by which others tell whether it still lives."""
    name = uuid.uuid4().hex
    path = _lock(dagster_home, name)
    with open_lock(path) as lock:
        try_exclusive(lock)
        try:
            yield {_TAG: name}
        finally:
            path.unlink()


def fail_orphans(instance: dg.DagsterInstance, dagster_home: Path) -> list[str]:
    """Fail the unfinished runs of processes that are gone, so that they hold nothing back.

    Returns the ids of those runs.
    """
    orphans = [
        run
        for run in instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED))
        if _TAG in run.tags and not is_held(_lock(dagster_home, run.tags[_TAG]))
    ]
    for run in orphans:
        instance.report_run_failed(run, "The process of this run was killed.")
        _lock(dagster_home, run.tags[_TAG]).unlink(missing_ok=True)
    return [run.run_id for run in orphans]


def _lock(dagster_home: Path, name: str) -> Path:
    return dagster_home / "processes" / f"{name}.lock"
