"""Deletes a run with everything that it recorded.

Dagster's `delete_run` leaves behind the results of asset checks, the output of steps and, on
SQLite, the run's own database file. They are deleted here.
"""

from pathlib import Path

import dagster as dg
import sqlalchemy as sa

from coinbase_assets.dagster_instance.private_event_log_names import (
    AssetCheckExecutionsTable,
    SqlEventLogStorage,
    SqliteEventLogStorage,
)


def delete_run(instance: dg.DagsterInstance, run_id: str) -> None:
    """Delete the records, then the run, so that an interrupted deletion is found and repeated.

    Only the run's database file is deleted after the run, because `delete_run` opens it.
    """
    instance.compute_log_manager.delete_logs(prefix=[run_id])
    instance.event_log_storage.delete_events(run_id)
    _delete_check_results(instance, run_id)
    instance.delete_run(run_id)
    _delete_file(instance, run_id)


def _delete_check_results(instance: dg.DagsterInstance, run_id: str) -> None:
    """Delete the run's check results, except the newest of each check and partition."""
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        return
    result = AssetCheckExecutionsTable.c
    newer = AssetCheckExecutionsTable.alias("newer")
    is_old = sa.exists().where(
        newer.c.asset_key == result.asset_key,
        newer.c.check_name == result.check_name,
        newer.c.partition.is_not_distinct_from(result.partition),
        newer.c.id > result.id,
    )
    with storage.index_connection() as connection:
        connection.execute(
            AssetCheckExecutionsTable.delete().where(result.run_id == run_id, is_old)
        )


def _delete_file(instance: dg.DagsterInstance, run_id: str) -> None:
    storage = instance.event_log_storage
    if isinstance(storage, SqliteEventLogStorage):
        for suffix in ("", "-wal", "-shm"):
            Path(storage.path_for_shard(run_id) + suffix).unlink(missing_ok=True)
