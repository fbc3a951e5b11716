"""Runs whose process was killed are failed; runs of living processes are not touched."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest

from coinbase_assets.dagster_instance.orphaned_runs import fail_orphans, run_lock
from coinbase_assets_tests.processes import end_with_children

OTHER_PROCESS = """
import sys, time
from pathlib import Path
from coinbase_assets.dagster_instance.orphaned_runs import run_lock

with run_lock(Path(sys.argv[1]), sys.argv[2]):
    print("locked", flush=True)
    time.sleep(600)
"""


@dg.job
def some_job() -> None:
    """A job without steps."""


def start_run(
    instance: dg.DagsterInstance,
    tags: dict[str, str] | None = None,
    status: dg.DagsterRunStatus = dg.DagsterRunStatus.STARTED,
) -> str:
    return instance.create_run_for_job(some_job, tags=tags, status=status).run_id


def status_of(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run
    return run.status


def locks(home: Path) -> list[Path]:
    return list((home / "processes").glob("*.lock"))


@contextmanager
def other_process(home: Path, run_id: str) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the run's lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", OTHER_PROCESS, str(home), run_id],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "locked\n"
    yield process
    end_with_children(process)


def test_fail_orphans_after_process_is_killed(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    run_id = start_run(instance)
    with other_process(tmp_path, run_id) as process:
        assert fail_orphans(instance, tmp_path) == []
        assert status_of(instance, run_id) == dg.DagsterRunStatus.STARTED

        process.kill()
        process.wait()
        assert fail_orphans(instance, tmp_path) == [run_id]
    assert status_of(instance, run_id) == dg.DagsterRunStatus.FAILURE
    assert "killed" in str(instance.all_logs(run_id))
    assert locks(tmp_path) == []
    assert fail_orphans(instance, tmp_path) == []


@pytest.mark.parametrize(
    ("status", "end"),
    [
        ("NOT_STARTED", "FAILURE"),
        ("STARTING", "FAILURE"),
        ("STARTED", "FAILURE"),
        ("CANCELING", "CANCELED"),
    ],
)
def test_fail_orphans_ends_run_in_every_status(
    instance: dg.DagsterInstance, tmp_path: Path, status: str, end: str
) -> None:
    run_id = start_run(instance, status=dg.DagsterRunStatus[status])
    with run_lock(tmp_path, run_id):
        pass
    assert fail_orphans(instance, tmp_path) == [run_id]
    assert status_of(instance, run_id) == dg.DagsterRunStatus[end]


def test_fail_orphans_ignores_other_runs(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    ended = start_run(instance, status=dg.DagsterRunStatus.SUCCESS)
    own, others = start_run(instance), start_run(instance)
    with run_lock(tmp_path, ended), run_lock(tmp_path, "a run that was never created"):
        pass
    with run_lock(tmp_path, own):
        assert fail_orphans(instance, tmp_path) == []
    assert status_of(instance, ended) == dg.DagsterRunStatus.SUCCESS
    assert {status_of(instance, run) for run in (own, others)} == {dg.DagsterRunStatus.STARTED}


def test_fail_orphans_deletes_locks_of_ended_runs(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    for run_id in ("one", "two"):
        with run_lock(tmp_path, run_id):
            pass
    with run_lock(tmp_path, "three"):
        fail_orphans(instance, tmp_path)
        assert [path.name for path in locks(tmp_path)] == ["three.lock"]
