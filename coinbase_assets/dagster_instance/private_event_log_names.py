"""Private names of Dagster's event log in SQLite. See private_names.py."""

from coinbase_assets.dagster_instance.supported_dagster import require, requiring_tested_dagster

with requiring_tested_dagster():
    # The types of events that concern assets: the public enumeration does not group its types.
    from dagster._core.events import ASSET_EVENTS as ASSET_EVENTS

    # The storages themselves: the public API opens an instance, but does not name its storages.
    from dagster._core.storage.event_log import SqlEventLogStorage as SqlEventLogStorage
    from dagster._core.storage.event_log import SqliteEventLogStorage as SqliteEventLogStorage

    # The tables: the public API deletes no check results, and stores events one by one.
    from dagster._core.storage.event_log.schema import (
        AssetCheckExecutionsTable as AssetCheckExecutionsTable,
    )
    from dagster._core.storage.event_log.schema import (
        SqlEventLogStorageTable as SqlEventLogStorageTable,
    )

    # How long a database waits for another writer: Dagster's own value, in seconds.
    from dagster._core.storage.sqlite import (
        SQLITE_BUSY_TIMEOUT_SECONDS as SQLITE_BUSY_TIMEOUT_SECONDS,
    )

    require(
        SqliteEventLogStorage,
        "_connect",
        "_event_to_row",
        "_initdb",
        "_store_asset_event",
        "_store_asset_event_tags",
        "conn_string_for_shard",
        "delete_events_for_run",
        "index_connection",
        "index_transaction",
        "path_for_shard",
        "run_connection",
        "store_event_batch",
    )
