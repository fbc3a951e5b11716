"""Dagster's storage in PostgreSQL, for a URL as everybody writes it."""

import os
from collections.abc import Mapping
from typing import Any

from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.utils import (
    DagsterPostgresException,
    get_token_provider_from_config,
    pg_url_from_config,
)
from sqlalchemy.engine import make_url

from coinbase_assets.dagster_instance.postgres_event_log import BatchedPostgresEventLogStorage
from coinbase_assets.dagster_instance.private_names import ConfigurableClassData

# SQLAlchemy 2.1 takes psycopg 3 for `postgresql://`, with which Dagster's NOTIFY fails.
_DRIVER = "postgresql+psycopg2"


class PostgresStorage(DagsterPostgresStorage):
    """DagsterPostgresStorage that always uses the driver that Dagster works with.

    Batches of events are what DAGSTER_EVENT_BATCH_SIZE allows, 1,000 events if it is not set. They
    are stored together.
    """

    def __init__(
        self,
        postgres_url: str,
        should_autocreate_tables: bool = True,
        inst_data: ConfigurableClassData | None = None,
        token_provider: Any = None,
    ) -> None:
        os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", "1000")
        super().__init__(postgres_url, should_autocreate_tables, inst_data, token_provider)
        # Dagster's own event log has made the tables.
        self._batched = BatchedPostgresEventLogStorage(
            postgres_url, should_autocreate_tables=False, token_provider=token_provider
        )

    @property
    def event_log_storage(self) -> BatchedPostgresEventLogStorage:
        return self._batched

    @classmethod
    def from_config_value(
        cls,
        inst_data: ConfigurableClassData | None,
        config_value: Any,
    ) -> Any:
        """Raises sqlalchemy.exc.OperationalError if the database cannot be reached."""
        config = _with_driver(config_value)
        try:
            return cls(
                pg_url_from_config(config),
                config.get("should_autocreate_tables", True),
                inst_data,
                get_token_provider_from_config(config),
            )
        except DagsterPostgresException as error:
            raise (error.__cause__ or error) from None


def _with_driver(config: Mapping[str, Any]) -> Any:
    if url := config.get("postgres_url"):
        return {**config, "postgres_url": with_driver(url)}
    return {**config, "postgres_db": {**config["postgres_db"], "scheme": _DRIVER}}


def with_driver(url: str) -> str:
    """Return the URL, with psycopg2 as its driver, also if it begins with `postgres://`."""
    parts = make_url(url.replace("postgres://", "postgresql://", 1))
    return parts.set(drivername=_DRIVER).render_as_string(hide_password=False)
