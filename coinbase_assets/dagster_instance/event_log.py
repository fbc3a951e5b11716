"""Dagster's event log in SQLite, for runs over many partitions."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from dagster import DagsterInvariantViolationError, EventLogEntry, Field, StringSource

from coinbase_assets.dagster_instance.private_event_log_names import (
    ASSET_EVENTS,
    SQLITE_BUSY_TIMEOUT_SECONDS,
    SqlEventLogStorageTable,
    SqliteEventLogStorage,
)
from coinbase_assets.dagster_instance.private_names import ConfigurableClassData

# The files whose tables this process has seen. Each tick of a sensor opens the storage again, and
# Dagster's own would read all of its migrations for it.
_initialized = set[tuple[str, int]]()


class BatchedSqliteEventLogStorage(SqliteEventLogStorage):
    """SqliteEventLogStorage that stores the events of many partitions in one transaction.

    Dagster's own opens files four times an event. The files are the same, and so is all the rest,
    so either takes over from the other. They are below DAGSTER_HOME unless `base_dir` says where.
    Batches are what DAGSTER_EVENT_BATCH_SIZE allows, 1,000 events if it is not set.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", "1000")
        super().__init__(base_dir, inst_data)

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {"base_dir": Field(StringSource, is_required=False)}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "BatchedSqliteEventLogStorage":
        return cls(config_value.get("base_dir") or _folder_below_home(), inst_data)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[sa.Connection]:
        """Connect to a run's database, or to the index, as Dagster does, by a kept engine."""
        with self._db_lock:
            engine = _engine(self.conn_string_for_shard(shard))
            path = self.path_for_shard(shard)
            if _file(path) not in _initialized:
                self._initdb(engine)
                _initialized.add(_file(path))
            with engine.connect() as connection, connection.begin():
                yield connection

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store the events in their order: those of a run's assets together."""
        for (_, of_assets), group in groupby(events, _run_and_whether_of_asset):
            if of_assets:
                self._store_asset_events(list(group))
            else:
                super().store_event_batch(list(group))

    def _store_asset_events(self, events: Sequence[EventLogEntry]) -> None:
        """Store them in the run's log first: the index must have no event that the log lacks."""
        table, rows = SqlEventLogStorageTable, [self._event_to_row(event) for event in events]
        with self.run_connection(events[0].run_id) as connection:
            connection.execute(table.insert(), rows)
        with self.index_transaction() as connection:
            connection.execute(table.insert(), rows)
            # SQLite gives out ids one by one, to one writer at a time.
            last = connection.execute(sa.select(sa.func.max(table.c.id))).scalar_one()
            ids = range(last - len(rows) + 1, last + 1)
            self._store_asset_event_tags(connection, events, ids)
            # An asset's row holds its newest event of each type.
            newest = {_asset_and_type(event): id_ for event, id_ in zip(events, ids, strict=True)}
            for event, id_ in zip(events, ids, strict=True):
                if newest[_asset_and_type(event)] == id_:
                    self._store_asset_event(connection, event, id_)

    def delete_events_for_run(self, conn: sa.Connection, run_id: str) -> None:
        """Delete the run's events, but keep the row of the log's newest event, without content.

        SQLite would use its id again, which the cursors of sensors have passed.
        """
        events = SqlEventLogStorageTable
        newest = sa.select(sa.func.max(events.c.id)).scalar_subquery()
        content = ("run_id", "dagster_event_type", "step_key", "asset_key", "partition")
        of_run = sa.update(events).where(events.c.id == newest, events.c.run_id == run_id)
        conn.execute(of_run.values(dict.fromkeys(content)))
        super().delete_events_for_run(conn, run_id)


def _file(path: str) -> tuple[str, int]:
    """Identify the file at the path: another one has another inode, a missing one has 0."""
    try:
        return path, os.stat(path).st_ino
    except FileNotFoundError:
        return path, 0


@lru_cache(maxsize=128)
def _engine(url: str) -> sa.Engine:
    """Return the engine of a database. It keeps compiled statements, but no open file."""
    arguments = {"timeout": SQLITE_BUSY_TIMEOUT_SECONDS}
    return sa.create_engine(url, poolclass=sa.NullPool, connect_args=arguments)


def _folder_below_home() -> str:
    home = os.environ.get("DAGSTER_HOME")
    if not home:
        raise DagsterInvariantViolationError(
            "DAGSTER_HOME: not set; the instance's files lie there: set it to its folder"
        )
    return str(Path(home, "history", "runs"))


def _run_and_whether_of_asset(event: EventLogEntry) -> tuple[str, bool]:
    return event.run_id, event.is_dagster_event and event.dagster_event_type in ASSET_EVENTS


def _asset_and_type(event: EventLogEntry) -> tuple[object, object]:
    return event.get_dagster_event().asset_key, event.dagster_event_type
