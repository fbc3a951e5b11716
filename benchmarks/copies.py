"""Copies of a real run, stored with SQL alone, which takes a tenth of the time Dagster takes.

All that Dagster writes into its databases while a real run goes by is recorded. A copy is that once
more, in the same order, with ids, partition and times of its own: in one transaction a database
instead of one an event, on top of a run's database that is empty but for its tables.

Left out are the snapshots of the job, which Dagster stores once for all runs, and time: a copy took
as long as the original, but is there at once. What a run leaves outside of Dagster is not copied.
"""

import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
import sqlalchemy as sa
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.runs.sqlite import sqlite_run_storage
from dagster._core.storage.schedules.sqlite import sqlite_schedule_storage
from dagster._core.storage.sql import create_engine

_WRITES = re.compile(r"UPDATE |INSERT INTO (?!alembic_version|snapshots)")
_EVENT = "INSERT INTO event_logs"
_JSON_TIME = re.compile(r'(?<="timestamp": )\d+\.\d+')
_STORAGE_ID = re.compile(r'(?<="storage_id": )\d+')
_SQL_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}")
# A queued run in a process of its own records these beside what a run in this process does.
_LAUNCH_MESSAGES = 6 * [
    "Started process for run, or some other step on its way there (pid: 12345)."
]


class Write(NamedTuple):
    """A statement that changed a database, whose path is relative to the instance's folder."""

    database: str
    sql: str
    values: Sequence[object]
    row_id: int | None


@dataclass(frozen=True)
class Template:
    """A real run that began at `began`, for `partition`, and all that was written for it."""

    run_id: str
    partition: str
    began: float
    writes: Sequence[Write]
    empty: Path

    def store(self, instance: dg.DagsterInstance, run_id: str, partition: str, start: int) -> None:
        """Store a copy that ran for this partition from this second on."""
        home, stored_as = Path(instance.root_directory), dict[int, int]()
        copied = self._copying(run_id, partition, start - int(self.began), stored_as)
        shutil.copyfile(self.empty, _own_database(instance, run_id))
        # Dagster looks at a database's version once a process: with this process it has been here.
        _storage(instance)._initialized_dbs.add(run_id)
        # The index first: its ids are also in what the other databases hold.
        for database, writes in groupby(self.writes, lambda write: write.database):
            with closing(sqlite3.connect(home / str(copied(database)))) as connection, connection:
                for write in writes:
                    cursor = connection.execute(write.sql, [*map(copied, write.values)])
                    if _is_index(database) and write.sql.startswith(_EVENT):
                        assert write.row_id
                        assert cursor.lastrowid
                        stored_as[write.row_id] = cursor.lastrowid
        copy_logs(instance, self.run_id, run_id)

    def _copying(
        self, run_id: str, partition: str, shift: int, stored_as: dict[int, int]
    ) -> Callable[[object], object]:
        """What becomes of a value that is written."""

        def later(text: re.Match[str]) -> str:
            # Of the times in a run, those that are older are its partition's.
            time = float(text[0])
            return repr(time + shift) if time >= self.began else text[0]

        def copied(value: object) -> object:
            if isinstance(value, float):
                return value + shift
            if isinstance(value, int):
                return stored_as.get(value, value)
            if not isinstance(value, str):
                return value
            if _SQL_TIME.fullmatch(value):
                moved = datetime.fromisoformat(value) + timedelta(seconds=shift)
                return moved.isoformat(" ", "microseconds")
            value = value.replace(self.run_id, run_id).replace(self.partition, partition)
            value = _JSON_TIME.sub(later, value)
            return _STORAGE_ID.sub(lambda id_: str(stored_as.get(int(id_[0]), id_[0])), value)

        return copied


def record_template(
    instance: dg.DagsterInstance, partition: str, run: Callable[[], dg.ExecuteInProcessResult]
) -> Template:
    """Run it for real. The instance has stored such a run before: it knows the job and asset."""
    with _recorded(Path(instance.root_directory)) as writes:
        began = datetime.now(UTC).timestamp()
        result = run()
        for message in _LAUNCH_MESSAGES:
            instance.report_engine_event(message, result.dagster_run)
    writes.sort(key=lambda write: (not _is_index(write.database), write.database))
    return Template(result.run_id, partition, began, writes, _empty_database(instance))


@contextmanager
def _recorded(home: Path) -> Iterator[list[Write]]:
    writes: list[Write] = []

    def record(
        connection: sa.Connection,
        cursor: sqlite3.Cursor,
        sql: str,
        values: Sequence[object] | Sequence[Sequence[object]],
        context: object,
        many: bool,
    ) -> None:
        if _WRITES.match(sql):
            database = Path(connection.engine.url.database or "").relative_to(home)
            for row in values if many else [values]:
                assert isinstance(row, Sequence)
                writes.append(Write(str(database), sql, row, cursor.lastrowid))

    sa.event.listen(sa.Engine, "after_cursor_execute", record)
    try:
        yield writes
    finally:
        sa.event.remove(sa.Engine, "after_cursor_execute", record)


def _is_index(database: str) -> bool:
    return Path(database).name == "index.db"


def _storage(instance: dg.DagsterInstance) -> SqliteEventLogStorage:
    assert isinstance(instance.event_log_storage, SqliteEventLogStorage)
    return instance.event_log_storage


def _own_database(instance: dg.DagsterInstance, run_id: str) -> Path:
    return Path(_storage(instance).path_for_shard(run_id))


def _empty_database(instance: dg.DagsterInstance) -> Path:
    """A run's before its first event, made by Dagster and moved out of its folder."""
    empty = Path(instance.root_directory).with_suffix(".empty")
    if not empty.exists():
        assert not instance.get_records_for_run("empty").records
        shutil.move(_own_database(instance, "empty"), empty)
    return empty


def copy_logs(instance: dg.DagsterInstance, run_id: str, copy: str) -> None:
    """What the steps printed."""
    logs = Path(instance.storage_directory())
    shutil.copytree(logs / run_id, logs / copy)


def share_engines() -> None:
    """Let Dagster connect to a database again as it did before, which is twice as fast.

    It makes an engine for every connection, which has to compile every statement anew.
    """

    @lru_cache(maxsize=16)
    def engine(url: str) -> sa.Engine:
        return create_engine(url, poolclass=sa.NullPool, connect_args={"timeout": 30})

    def shared_engine(url: str, **_: object) -> sa.Engine:
        return engine(url)

    modules: tuple[Any, ...] = (sqlite_event_log, sqlite_run_storage, sqlite_schedule_storage)
    for module in modules:
        module.create_engine = shared_engine
