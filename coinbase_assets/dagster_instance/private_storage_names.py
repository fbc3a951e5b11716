"""Private names of Dagster's run and schedule storages in SQLite. See private_names.py."""

from coinbase_assets.dagster_instance.supported_dagster import require, requiring_tested_dagster

with requiring_tested_dagster():
    # The storages themselves: the public API opens an instance, but does not name its storages.
    from dagster._core.storage.runs import SqliteRunStorage as SqliteRunStorage
    from dagster._core.storage.schedules import SqliteScheduleStorage as SqliteScheduleStorage

    # How they open their files: engines of this project open the same files in the same way.
    from dagster._core.storage.sqlite import (
        SQLITE_BUSY_TIMEOUT_SECONDS as SQLITE_BUSY_TIMEOUT_SECONDS,
    )
    from dagster._core.storage.sqlite import create_db_conn_string as create_db_conn_string

    for storage in (SqliteRunStorage, SqliteScheduleStorage):
        require(storage, "config_type", "connect", "from_config_value", "from_local")
