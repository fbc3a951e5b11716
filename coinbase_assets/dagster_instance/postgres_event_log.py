"""Dagster's event log in PostgreSQL, for runs over many partitions."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any, Self

from dagster import DagsterEventType, EventLogEntry
from dagster_postgres.event_log import PostgresEventLogStorage
from dagster_postgres.utils import get_token_provider_from_config, pg_url_from_config

from coinbase_assets.dagster_instance.private_event_log_names import SqlEventLogStorageTable
from coinbase_assets.dagster_instance.private_names import ConfigurableClassData
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

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Self:
        """For a `dagster.yaml` that names the class. Dagster's own would make a parent of it."""
        return cls(
            pg_url_from_config(config_value),
            config_value.get("should_autocreate_tables", True),
            inst_data,
            get_token_provider_from_config(config_value),
        )

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
