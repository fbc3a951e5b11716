"""Runs that refresh what later runs refreshed again: deleted, so that the instance stays small.

Dagster's `delete_run` takes a run's materialisations with it, so a run goes only once none of them
is its partition's newest. It leaves behind the results of asset checks, what the steps printed and,
on SQLite, the run's own database file, so these are deleted here, too.
"""

import time
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

import dagster as dg
import sqlalchemy as sa
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.storage.event_log import SqlEventLogStorage, SqliteEventLogStorage
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable

from coinbase_assets.dagster_instance.run_tags import (
    BACKFILL_ID_TAG,
    PARENT_RUN_ID_TAG,
    RETRY_NUMBER_TAG,
    SCHEDULE_NAME_TAG,
    SENSOR_NAME_TAG,
)

RETENTION = timedelta(days=1)
MOST_RUNS = 200
# A sensor's tick has 60, for what the last run takes, too.
MOST_SECONDS = 15.0

# The web UI puts it on whatever a user starts there, also with the tags of another run.
_FROM_UI_TAG = "dagster/from_ui"
_MATERIALIZATION: Final = dg.DagsterEventType.ASSET_MATERIALIZATION


class Sweep(NamedTuple):
    """The ids of the runs deleted, and where the next call goes on; None: from the oldest run."""

    deleted: list[str]
    cursor: str | None


def delete_superseded_runs(
    instance: dg.DagsterInstance,
    now: datetime,
    *,
    schedules: Collection[str] = (),
    sensors: Collection[str] = (),
    cursor: str | None = None,
    most: int = MOST_RUNS,
    seconds: float = MOST_SECONDS,
) -> Sweep:
    """Delete superseded runs that these schedules and sensors launched, and their retries.

    A run is superseded when it changed last more than `RETENTION` before `now`, is finished, and
    another run has since materialised every partition it materialised. A call looks at `most` runs,
    oldest first, and at no other once so many `seconds` are over. Past the newest it begins again:
    runs that stay cost the same however many there are, and go when they are superseded later.
    """
    expired = dg.RunsFilter(
        statuses=FINISHED_STATUSES, updated_before=(now - RETENTION).astimezone(UTC)
    )
    runs = instance.get_runs(expired, cursor=cursor, limit=most, ascending=True)
    launchers = {SCHEDULE_NAME_TAG: schedules, SENSOR_NAME_TAG: sensors}
    last_changed = _last_changed(instance)
    deleted, began = [], time.monotonic()
    for run in runs:
        if (
            run.run_id != last_changed
            and _is_launched_by(launchers, run.tags)
            and _is_superseded(instance, run.run_id)
        ):
            _delete(instance, run.run_id)
            deleted.append(run.run_id)
        else:
            cursor = run.run_id
        if time.monotonic() - began > seconds:
            return Sweep(deleted, cursor)
    return Sweep(deleted, cursor if len(runs) == most else None)


def _last_changed(instance: dg.DagsterInstance) -> str | None:
    """The run with the log's last event, kept: SQLite would give that event's id out again."""
    records = instance.get_run_records(limit=1, order_by="update_timestamp")
    return records[0].dagster_run.run_id if records else None


def _is_launched_by(launchers: Mapping[str, Collection[str]], tags: Mapping[str, str]) -> bool:
    """A run that a user starts from one of theirs has its tags, too; an automatic retry a number.

    Its number is what Dagster itself tells automatic retries by.
    """
    is_users = _FROM_UI_TAG in tags or (PARENT_RUN_ID_TAG in tags and RETRY_NUMBER_TAG not in tags)
    return (
        not is_users
        and BACKFILL_ID_TAG not in tags
        and any(tags.get(tag) in names for tag, names in launchers.items())
    )


def _is_superseded(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether the newest materialisation of no partition, nor of an asset without, is the run's.

    So, too, if there is none.
    """
    newest: list[int] = []
    for key, partitions in _partitions(instance, run_id).items():
        keys = {partition for partition in partitions if partition is not None}
        if len(keys) < len(partitions):
            event = instance.get_latest_materialization_event(key)
            if event and event.run_id == run_id:
                return False
        ids = instance.get_latest_storage_id_by_partition(key, _MATERIALIZATION, keys)
        newest.extend(ids.values())
    records = instance.get_asset_event_summary_records(_MATERIALIZATION, storage_ids=newest)
    return all(record.run_id != run_id for record in records)


def _partitions(
    instance: dg.DagsterInstance, run_id: str
) -> Mapping[dg.AssetKey, Collection[str | None]]:
    """The partitions the run set out to materialise, by the run's own log or, slower, by all."""
    kinds = {_MATERIALIZATION, dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED}
    partitions = instance.get_asset_partitions_for_run(run_id, kinds)
    if partitions:
        return partitions
    records = instance.get_asset_event_summary_records(_MATERIALIZATION, run_id=run_id)
    return {
        key: {record.partition for record in records if record.asset_key == key}
        for key in {record.asset_key for record in records}
    }


def _delete(instance: dg.DagsterInstance, run_id: str) -> None:
    """The run goes after all it holds, so that a deletion cut short is found and done again.

    Only its file, which Dagster opens to delete a run, goes after it.
    """
    instance.compute_log_manager.delete_logs(prefix=[run_id])
    instance.event_log_storage.delete_events(run_id)
    _delete_check_results(instance, run_id)
    instance.delete_run(run_id)
    _delete_file(instance, run_id)


def _delete_check_results(instance: dg.DagsterInstance, run_id: str) -> None:
    """Dagster keeps them all; the newest of each check and partition stays here, too."""
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
