"""The storages of runs and schedules that are opened often: their files are Dagster's own."""

import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import TickData, TickStatus
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.schedules import SqliteScheduleStorage

from coinbase_assets.dagster_instance.sqlite_storage import (
    KeptSqliteRunStorage,
    KeptSqliteScheduleStorage,
)

Storages = Mapping[str, Any]
OURS: Storages = {"history": KeptSqliteRunStorage, "schedules": KeptSqliteScheduleStorage}
THEIRS: Storages = {"history": SqliteRunStorage, "schedules": SqliteScheduleStorage}


def open_all(home: Path, storages: Storages) -> tuple[Any, Any]:
    runs, schedules = (kind.from_local(str(home / name)) for name, kind in storages.items())
    return runs, schedules


def store(home: Path, storages: Storages, name: str) -> None:
    """Store a run and a tick of this name."""
    runs, schedules = open_all(home, storages)
    runs.add_run(dg.DagsterRun(job_name=name, run_id=name))
    tick = TickData(name, name, InstigatorType.SENSOR, TickStatus.STARTED, 0.0)
    schedules.create_tick(tick)


def stored(home: Path, storages: Storages, *names: str) -> list[str]:
    """The names of the runs, and of the ticks, that are there."""
    runs, schedules = open_all(home, storages)
    ticks = [one.instigator_origin_id for name in names for one in schedules.get_ticks(name, name)]
    assert sorted(ticks) == sorted(one.run_id for one in runs.get_runs())
    return sorted(ticks)


def test_each_goes_on_with_the_others_files(tmp_path: Path) -> None:
    store(tmp_path, THEIRS, "a")
    store(tmp_path, OURS, "b")
    store(tmp_path, THEIRS, "c")
    assert stored(tmp_path, OURS, "a", "b", "c") == ["a", "b", "c"]
    assert stored(tmp_path, THEIRS, "a", "b", "c") == ["a", "b", "c"]


def test_files_that_were_deleted_are_made_anew(tmp_path: Path) -> None:
    store(tmp_path, OURS, "a")
    for name in OURS:
        shutil.rmtree(tmp_path / name)
    store(tmp_path, OURS, "b")
    assert stored(tmp_path, OURS, "a", "b") == ["b"]


def test_what_fails_is_not_stored_in_part(tmp_path: Path) -> None:
    store(tmp_path, OURS, "a")
    runs, _ = open_all(tmp_path, OURS)

    def fail() -> None:
        with runs.connect() as connection:
            connection.exec_driver_sql("DELETE FROM runs")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert stored(tmp_path, OURS, "a") == ["a"]


def test_threads_store_at_the_same_time(tmp_path: Path) -> None:
    names = [f"{number}" for number in range(8)]
    threads = [threading.Thread(target=store, args=(tmp_path, OURS, name)) for name in names]
    store(tmp_path, OURS, "first")
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stored(tmp_path, OURS, "first", *names) == [*names, "first"]


@pytest.mark.parametrize("folder", OURS)
def test_they_are_below_dagster_home_if_nothing_else_is_said(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    OURS[folder].from_config_value(None, {})
    assert list((tmp_path / folder).glob("*.db"))
