"""Runs whose process is gone: recognised, and failed.

On the host of the process, the lock that died with it is free. On other hosts, its heartbeat has
not changed for a minute.
"""

import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg

from coinbase_assets.dagster_instance.heartbeats import HEARTBEAT_TAG, Heard, heartbeat_of, listen
from coinbase_assets.dagster_instance.private_names import (
    RunFailureReason,
    auto_reexecution_should_retry_run,
)
from coinbase_assets.dagster_instance.run_tags import RUN_FAILURE_REASON_TAG, WILL_RETRY_TAG
from coinbase_assets.file_locks import exclusive, is_held, open_lock, try_exclusive


@contextmanager
def run_lock(dagster_home: Path, run_id: str) -> Iterator[None]:
    """Hold the lock that shows this host's processes that the run's process lives; its file stays.

    Hold it until the run's end is recorded.
    """
    locks = _folder(dagster_home)
    with exclusive(locks / "changing"):
        lock = open_lock(locks / f"{run_id}.lock")
        try_exclusive(lock)
        lock.truncate(0)
        lock.write(_this_host())
        lock.flush()
    with lock:
        yield


def fail_orphans(instance: dg.DagsterInstance, dagster_home: Path) -> list[str]:
    """Fail the unfinished runs of this host's processes that are gone, so that none waits for them.

    Returns the ids of those runs. A free lock of another host says nothing: not every file system
    shows a lock to other hosts.
    """
    orphans = []
    locks = _folder(dagster_home)
    with exclusive(locks / "changing"):
        for lock in locks.glob("*.lock"):
            if is_held(lock):
                continue
            run = instance.get_run_by_id(lock.stem)
            if run and not run.is_finished:
                if lock.read_bytes() not in (b"", _this_host()):
                    continue
                _fail(instance, run, "The process of this run was killed.")
                orphans.append(run.run_id)
            lock.unlink()
    return orphans


def fail_silent(
    instance: dg.DagsterInstance,
    dagster_home: Path,
    before: Mapping[str, Heard],
    elapsed: float,
    is_ours: Callable[[dg.DagsterRun], bool],
) -> tuple[list[str], dict[str, Heard]]:
    """Fail the runs of processes of any host that have been silent for too long.

    Returns the ids of those runs, and what was heard of the others: pass it to the next call, as
    `before`, with the seconds that have `elapsed`. Runs without a heartbeat count if `is_ours`. A
    run whose lock is held here is alive, however slow.
    """
    started = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING])
    runs = {
        run.run_id: run
        for run in instance.get_runs(started)
        if (HEARTBEAT_TAG in run.tags or is_ours(run))
        and not is_held(_folder(dagster_home) / f"{run.run_id}.lock")
    }
    beats = {run_id: heartbeat_of(run) for run_id, run in runs.items()}
    heard = listen(before, beats, elapsed)
    silent = [run_id for run_id, each in heard.items() if each.is_silent]
    for run_id in silent:
        last = heard.pop(run_id)
        _fail(
            instance,
            runs[run_id],
            f"Nothing was heard of the process of this run for {last.seconds:.0f} seconds"
            f" (last: {last.beat or 'the start of the run'}).",
        )
    return silent, heard


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


def _fail(instance: dg.DagsterInstance, run: dg.DagsterRun, why: str) -> None:
    """End the run as what it would have become."""
    if run.status == dg.DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run, why)
    else:
        instance.report_run_failed(run, why)


def _this_host() -> bytes:
    return platform.node().encode()


def _folder(dagster_home: Path) -> Path:
    return dagster_home / "processes"
