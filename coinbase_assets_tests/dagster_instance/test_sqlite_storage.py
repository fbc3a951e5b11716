"""The storages of runs and schedules use the same files as Dagster's own."""

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
    """The names of the stored runs, which are those of the stored ticks, too."""
    runs, schedules = open_all(home, storages)
    ticks = [
        tick.instigator_origin_id for name in names for tick in schedules.get_ticks(name, name)
    ]
    assert sorted(ticks) == sorted(run.run_id for run in runs.get_runs())
    return sorted(ticks)


def test_storage_shares_files_with_dagsters(tmp_path: Path) -> None:
    store(tmp_path, THEIRS, "a")
    store(tmp_path, OURS, "b")
    store(tmp_path, THEIRS, "c")
    assert stored(tmp_path, OURS, "a", "b", "c") == ["a", "b", "c"]
    assert stored(tmp_path, THEIRS, "a", "b", "c") == ["a", "b", "c"]


def test_storage_creates_deleted_files_again(tmp_path: Path) -> None:
    store(tmp_path, OURS, "a")
    for name in OURS:
        shutil.rmtree(tmp_path / name)
    store(tmp_path, OURS, "b")
    assert stored(tmp_path, OURS, "a", "b") == ["b"]


def test_storage_rolls_back_failed_transaction(tmp_path: Path) -> None:
    store(tmp_path, OURS, "a")
    runs, _ = open_all(tmp_path, OURS)

    def fail() -> None:
        with runs.connect() as connection:
            connection.exec_driver_sql("DELETE FROM runs")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert stored(tmp_path, OURS, "a") == ["a"]


def test_storage_accepts_concurrent_threads(tmp_path: Path) -> None:
    names = [f"{number}" for number in range(8)]
    threads = [threading.Thread(target=store, args=(tmp_path, OURS, name)) for name in names]
    store(tmp_path, OURS, "first")
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stored(tmp_path, OURS, "first", *names) == [*names, "first"]


@pytest.mark.parametrize("folder", OURS)
def test_storage_default_folder_is_below_dagster_home(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    OURS[folder].from_config_value(None, {})
    assert list((tmp_path / folder).glob("*.db"))
