"""Runs of other hosts: alive while their heartbeat changes, failed when it has not for a minute."""

import os
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import dagster as dg
import pytest
import tenacity

from coinbase_assets.dagster_instance.heartbeats import (
    HEARTBEAT_TAG,
    SILENT_AFTER,
    Heard,
    beating,
    listen,
)
from coinbase_assets.dagster_instance.orphaned_runs import fail_orphans, fail_silent, run_lock
from coinbase_assets_tests.dagster_instance.test_orphaned_runs import (
    locks,
    start_run,
    status_of,
)

eventually = tenacity.retry(
    retry=tenacity.retry_if_exception_type(AssertionError),
    wait=tenacity.wait_fixed(0.02),
    stop=tenacity.stop_after_delay(30),
    reraise=True,
)


def beat_of(instance: dg.DagsterInstance, run_id: str) -> str | None:
    run = instance.get_run_by_id(run_id)
    assert run
    return run.tags.get(HEARTBEAT_TAG)


def test_heartbeat_changes_until_the_block_ends(instance: dg.DagsterInstance) -> None:
    run_id = start_run(instance)
    beats = set()

    @eventually
    def three_beats() -> None:
        beats.add(beat_of(instance, run_id))
        assert len(beats - {None}) >= 3

    with beating(instance, run_id, seconds=0.01):
        three_beats()
    last = beat_of(instance, run_id)
    assert str(last).startswith(f"{run_id}: {platform.node()}, process {os.getpid()}, ")
    time.sleep(0.1)
    assert beat_of(instance, run_id) == last


def test_short_run_writes_no_heartbeat(instance: dg.DagsterInstance) -> None:
    run_id = start_run(instance)
    with beating(instance, run_id):
        pass
    assert beat_of(instance, run_id) is None


def test_heartbeat_goes_on_after_the_storage_refused_one(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run_id, write, refused = start_run(instance), instance.add_run_tags, list[str]()

    def refuse_first(run_id: str, tags: Mapping[str, str]) -> None:
        if not refused:
            refused.append(run_id)
            raise OSError("postgresql://user:secret@host is away")
        write(run_id, tags)

    monkeypatch.setattr(instance, "add_run_tags", refuse_first)

    @eventually
    def beats() -> None:
        assert beat_of(instance, run_id)

    with beating(instance, run_id, seconds=0.01):
        beats()
    assert f"Run {run_id}: its heartbeat was not recorded (OSError)" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("before", "beat", "elapsed", "heard"),
    [
        ({}, "1", 30, Heard("1", 0)),
        ({"run": Heard("1", 30)}, "2", 30, Heard("2", 0)),
        ({"run": Heard("1", 30)}, "1", 30, Heard("1", 60)),
        ({"run": Heard(None, 0)}, None, 30, Heard(None, 30)),
        ({"run": Heard("1", 10)}, "1", 8 * 3600, Heard("1", 55)),
        ({"run": Heard("1", 10)}, "1", -3600, Heard("1", 10)),
    ],
    ids=["new", "changed", "silent", "no heartbeat yet", "watcher slept", "clock set back"],
)
def test_silence_is_measured_by_the_watcher(
    before: dict[str, Heard], beat: str | None, elapsed: float, heard: Heard
) -> None:
    assert listen(before, {"run": beat}, elapsed) == {"run": heard}


def test_silence_of_ended_runs_is_forgotten() -> None:
    assert listen({"run": Heard("1", 30)}, {}, 30) == {}


class Watcher:
    """Looks at the runs of an instance every 30 seconds of its own time."""

    def __init__(self, instance: dg.DagsterInstance, home: Path) -> None:
        self._instance, self._home = instance, home
        self._heard: dict[str, Heard] = {}

    def look(self, is_ours: Callable[[dg.DagsterRun], bool] = lambda run: False) -> list[str]:
        failed, self._heard = fail_silent(self._instance, self._home, self._heard, 30, is_ours)
        return failed


def test_run_of_dead_host_is_failed(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    run_id, watcher = start_run(instance), Watcher(instance, tmp_path)
    beat = f"{run_id}: other-host, process 7, heartbeat 3"
    instance.add_run_tags(run_id, {HEARTBEAT_TAG: beat})
    assert [watcher.look() for _ in range(3)] == [[], [], [run_id]]
    assert status_of(instance, run_id) == dg.DagsterRunStatus.FAILURE
    assert f"for {SILENT_AFTER:.0f} seconds (last: other-host, process 7, heartbeat 3)" in str(
        instance.all_logs(run_id)
    )
    assert watcher.look() == []


def test_heartbeat_of_the_run_that_it_retries_is_not_its_own(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    run_id = start_run(instance, tags={HEARTBEAT_TAG: "other run: other-host, heartbeat 3"})
    watcher = Watcher(instance, tmp_path)
    assert [run for _ in range(3) for run in watcher.look()] == [run_id]
    assert "(last: the start of the run)" in str(instance.all_logs(run_id))


def test_cancelled_run_of_dead_host_ends_as_cancelled(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    run_id = start_run(instance, status=dg.DagsterRunStatus.CANCELING)
    instance.add_run_tags(run_id, {HEARTBEAT_TAG: "1"})
    watcher = Watcher(instance, tmp_path)
    assert [run for _ in range(3) for run in watcher.look()] == [run_id]
    assert status_of(instance, run_id) == dg.DagsterRunStatus.CANCELED


def test_run_of_slow_host_lives(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    run_id, watcher = start_run(instance), Watcher(instance, tmp_path)
    for beat in range(5):
        instance.add_run_tags(run_id, {HEARTBEAT_TAG: f"{run_id}: {beat}"})
        assert [watcher.look(), watcher.look()] == [[], []]


def test_stopped_process_of_this_host_lives(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    run_id, watcher = start_run(instance), Watcher(instance, tmp_path)
    instance.add_run_tags(run_id, {HEARTBEAT_TAG: "1"})
    with run_lock(tmp_path, run_id):
        assert [watcher.look() for _ in range(5)] == [[]] * 5


def test_run_that_died_before_its_first_heartbeat_is_failed_if_it_is_ours(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    ours, others = start_run(instance, tags={"ours": "yes"}), start_run(instance)
    watcher = Watcher(instance, tmp_path)
    failed = [watcher.look(lambda run: "ours" in run.tags) for _ in range(4)]
    assert failed == [[], [], [ours], []]
    assert status_of(instance, others) == dg.DagsterRunStatus.STARTED


def test_starting_run_is_left_to_dagster(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    start_run(instance, status=dg.DagsterRunStatus.STARTING)
    watcher = Watcher(instance, tmp_path)
    assert [watcher.look(lambda run: True) for _ in range(5)] == [[]] * 5


def test_free_lock_of_another_host_says_nothing(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = start_run(instance)
    with monkeypatch.context() as other, run_lock(tmp_path, "ended"):
        other.setattr(platform, "node", lambda: "other-host")
        with run_lock(tmp_path, run_id):
            pass
        with run_lock(tmp_path, "ended"):
            pass
    assert fail_orphans(instance, tmp_path) == []
    assert status_of(instance, run_id) == dg.DagsterRunStatus.STARTED
    assert [path.stem for path in locks(tmp_path)] == [run_id]
