"""Dagster's event log in SQLite, for runs over many partitions."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from dagster import AssetKey, EventLogEntry

from coinbase_assets.dagster_instance.private_event_log_names import (
    ASSET_EVENTS,
    INDEX_SHARD_NAME,
    SqlEventLogStorageMetadata,
    SqlEventLogStorageTable,
    SqliteEventLogStorage,
)
from coinbase_assets.dagster_instance.private_names import ConfigurableClassData
from coinbase_assets.dagster_instance.sqlite_storage import CONFIG, base_dir, kept_engine

_VERSION = sa.Table(
    "alembic_version", sa.MetaData(), sa.Column("version_num", sa.String(32), primary_key=True)
)


class BatchedSqliteEventLogStorage(SqliteEventLogStorage):
    """SqliteEventLogStorage that stores the events of many partitions in one transaction.

    Dagster's own opens the files four times an event and builds each statement anew. The files are
    the same, so either takes over from the other. They are below DAGSTER_HOME unless `base_dir`
    says where. Batches are what DAGSTER_EVENT_BATCH_SIZE allows, 1,000 events if it is not set.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", "1000")
        super().__init__(base_dir, inst_data)

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return CONFIG

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "BatchedSqliteEventLogStorage":
        return cls(base_dir(config_value, "history", "runs"), inst_data)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store the events of one run in their order: those of assets together."""
        for of_assets, group in groupby(events, _is_of_asset):
            if of_assets:
                self._store_asset_events(list(group))
            else:
                super().store_event_batch(list(group))

    def _store_asset_events(self, events: Sequence[EventLogEntry]) -> None:
        """First in the run's own log: an asset's event without a run would be one too many."""
        inserts = [self.prepare_insert_event(event) for event in events]
        with self.run_connection(events[0].run_id) as connection:
            for insert in inserts:
                connection.execute(insert)
        with self.index_transaction() as connection:
            results = [connection.execute(insert) for insert in inserts]
            ids = [result.inserted_primary_key[0] for result in results]  # type: ignore[index]
            self._store_asset_event_tags(connection, events, ids)
            # An asset's own row tells of its newest event.
            newest = {
                _asset_of(event): (event, id_) for event, id_ in zip(events, ids, strict=True)
            }
            for event, event_id in newest.values():
                self._store_asset_event(connection, event, event_id)

    def delete_events_for_run(self, conn: sa.Connection, run_id: str) -> None:
        """Delete them, but of the log's newest one only what it tells.

        SQLite would give its id out again, which sensors' cursors have passed.
        """
        events = SqlEventLogStorageTable
        newest = sa.select(sa.func.max(events.c.id)).scalar_subquery()
        told = ("run_id", "dagster_event_type", "step_key", "asset_key", "partition")
        of_run = sa.update(events).where(events.c.id == newest, events.c.run_id == run_id)
        conn.execute(of_run.values(dict.fromkeys(told)))
        super().delete_events_for_run(conn, run_id)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[sa.Connection]:
        with self._db_lock:
            engine = kept_engine(self.conn_string_for_shard(shard))
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.begin() as connection:
                yield connection

    def _initdb(self, engine: sa.Engine, for_index_shard: bool = False) -> None:
        """Create a run's file without Dagster's look at all migrations, which takes 0.1 s."""
        if for_index_shard:
            return super()._initdb(engine, for_index_shard)
        with suppress(sa.exc.OperationalError), engine.connect() as connection:
            if connection.scalar(sa.select(_VERSION)):
                return None
        try:
            self._create(engine)
        except sa.exc.DatabaseError:
            # Another process creates it, too: Dagster's own knows how to wait.
            super()._initdb(engine)
        return None

    def _create(self, engine: sa.Engine) -> None:
        index = kept_engine(self.conn_string_for_shard(INDEX_SHARD_NAME))
        with index.connect() as connection:
            version = connection.scalar(sa.select(_VERSION))
        SqlEventLogStorageMetadata.create_all(engine)
        with engine.begin() as connection:
            connection.execute(sa.text("PRAGMA journal_mode=WAL"))
            _VERSION.create(connection)
            connection.execute(_VERSION.insert().values(version_num=version))


def _is_of_asset(event: EventLogEntry) -> bool:
    return event.is_dagster_event and event.dagster_event_type in ASSET_EVENTS


def _asset_of(event: EventLogEntry) -> AssetKey | None:
    return event.get_dagster_event().asset_key
