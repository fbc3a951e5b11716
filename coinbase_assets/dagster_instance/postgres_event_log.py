"""Dagster's event log in PostgreSQL, for runs over many partitions."""

from collections.abc import Sequence
from itertools import groupby

from dagster import DagsterEventType, EventLogEntry
from dagster_postgres.event_log import PostgresEventLogStorage

from coinbase_assets.dagster_instance.private_event_log_names import SqlEventLogStorageTable
from coinbase_assets.dagster_instance.supported_dagster import require, requiring_tested_dagster

with requiring_tested_dagster():
    require(
        PostgresEventLogStorage,
        "_store_asset_event",
        "_store_asset_event_tags",
        "index_transaction",
        "prepare_insert_event_batch",
        "store_event_batch",
    )


class BatchedPostgresEventLogStorage(PostgresEventLogStorage):
    """PostgresEventLogStorage that stores a run's planned partitions together.

    Dagster's own does so with materialisations alone, and opens two connections for each partition
    that a new run plans.
    """

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        for planned, group in groupby(events, _is_planned):
            if planned:
                self._store_planned(list(group))
            else:
                super().store_event_batch(list(group))

    def _store_planned(self, events: Sequence[EventLogEntry]) -> None:
        insert = self.prepare_insert_event_batch(events)
        with self.index_transaction() as connection:
            rows = connection.execute(insert.returning(SqlEventLogStorageTable.c.id))
            ids = [row[0] for row in rows]
            self._store_asset_event_tags(connection, events, ids)
            # An asset's row holds its newest planned run.
            newest = {_asset(event): (event, id_) for event, id_ in zip(events, ids, strict=True)}
            # In one order, so that no two runs wait for each other's rows.
            for asset in sorted(newest):
                self._store_asset_event(connection, *newest[asset])


def _is_planned(event: EventLogEntry) -> bool:
    return event.dagster_event_type == DagsterEventType.ASSET_MATERIALIZATION_PLANNED


def _asset(event: EventLogEntry) -> str:
    key = event.get_dagster_event().asset_key
    assert key
    return key.to_string()
