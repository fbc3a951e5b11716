"""Runs whose process was killed are failed; those of living processes are left alone."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from coinbase_assets.orphans import fail_orphans, process_tags
from coinbase_assets_tests.processes import end_with_children

OTHER_PROCESS = """
import json, sys, time
from pathlib import Path
from coinbase_assets.orphans import process_tags

with process_tags(Path(sys.argv[1])) as tags:
    print(json.dumps(tags), flush=True)
    time.sleep(600)
"""


@dg.job
def some_job() -> None:
    """Whatever runs."""


@pytest.fixture(scope="module")
def other_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def other_process(other_home: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", OTHER_PROCESS, str(other_home)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    yield process
    end_with_children(process)


def start_run(
    instance: dg.DagsterInstance,
    tags: dict[str, str],
    status: dg.DagsterRunStatus = dg.DagsterRunStatus.STARTED,
) -> str:
    return instance.create_run_for_job(some_job, tags=tags, status=status).run_id


def status_of(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run
    return run.status


def locks(home: Path) -> list[Path]:
    return list((home / "processes").iterdir())


def test_a_run_is_failed_once_its_process_is_killed_and_not_before(
    instance: dg.DagsterInstance, other_process: subprocess.Popen[str], other_home: Path
) -> None:
    assert other_process.stdout
    run_id = start_run(instance, json.loads(other_process.stdout.readline()))

    assert fail_orphans(instance, other_home) == []
    assert status_of(instance, run_id) == dg.DagsterRunStatus.STARTED
    assert len(locks(other_home)) == 1

    other_process.kill()
    other_process.wait()
    assert fail_orphans(instance, other_home) == [run_id]
    assert status_of(instance, run_id) == dg.DagsterRunStatus.FAILURE
    assert "killed" in str(instance.all_logs(run_id))
    assert locks(other_home) == []
    assert fail_orphans(instance, other_home) == []


def test_a_run_is_failed_however_far_it_had_come(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    with process_tags(tmp_path) as tags:
        pass
    runs = [
        start_run(instance, tags, dg.DagsterRunStatus[status])
        for status in ("NOT_STARTED", "STARTING", "STARTED", "CANCELING")
    ]
    assert sorted(fail_orphans(instance, tmp_path)) == sorted(runs)
    assert {status_of(instance, run_id) for run_id in runs} == {dg.DagsterRunStatus.FAILURE}


def test_runs_that_ended_or_are_of_this_process_or_of_others_are_left_alone(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    with process_tags(tmp_path) as gone:
        pass
    with process_tags(tmp_path) as own:
        ended = start_run(instance, gone, dg.DagsterRunStatus.SUCCESS)
        running = [start_run(instance, own), start_run(instance, {"dagster/backfill": "abc"})]
        assert fail_orphans(instance, tmp_path) == []
    assert status_of(instance, ended) == dg.DagsterRunStatus.SUCCESS
    assert {status_of(instance, run_id) for run_id in running} == {dg.DagsterRunStatus.STARTED}


def test_a_process_leaves_no_lock_file_however_its_work_ends(tmp_path: Path) -> None:
    with process_tags(tmp_path):
        assert len(locks(tmp_path)) == 1
    assert locks(tmp_path) == []
    with pytest.raises(ZeroDivisionError), process_tags(tmp_path):
        raise ZeroDivisionError
    assert locks(tmp_path) == []


def test_two_processes_have_tags_of_their_own(tmp_path: Path) -> None:
    with process_tags(tmp_path) as one, process_tags(tmp_path) as other:
        assert one.keys() == other.keys()
        assert one != other
