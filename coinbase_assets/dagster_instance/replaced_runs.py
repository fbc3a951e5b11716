"""Chooses and deletes superseded runs, so that the instance stays small.

A run is superseded when later runs have materialised all of its partitions. Dagster's `delete_run`
deletes a run's materialisations, too, so a run must stay if it holds a partition's newest one.
"""

import time
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import dagster as dg

from coinbase_assets.dagster_instance.run_deletion import delete_run
from coinbase_assets.dagster_instance.run_statuses import FINISHED
from coinbase_assets.dagster_instance.run_tags import (
    BACKFILL_ID_TAG,
    PARENT_RUN_ID_TAG,
    RETRY_NUMBER_TAG,
    SCHEDULE_NAME_TAG,
    SENSOR_NAME_TAG,
)

RETENTION = timedelta(days=1)
MOST_RUNS = 200
# Dagster ends a sensor's tick after 60 seconds. The rest is for the run under way at that time.
MOST_SECONDS = 15.0

# The web UI adds this tag to every run that a user launches there.
_FROM_UI_TAG = "dagster/from_ui"
_MATERIALIZATION: Final = dg.DagsterEventType.ASSET_MATERIALIZATION


class Sweep(NamedTuple):
    """The ids of the deleted runs, and the cursor for the next call (None: the oldest run)."""

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

    A run qualifies when it is finished, changed last more than `RETENTION` before `now`, and other
    runs have since materialised every partition that it materialised. A call examines at most
    `most` runs after the cursor, oldest first, and stops after `seconds`. When it has examined the
    newest run, the cursor returns to the oldest: a run that stays now may be superseded later.
    """
    expired = dg.RunsFilter(statuses=FINISHED, updated_before=(now - RETENTION).astimezone(UTC))
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
            delete_run(instance, run.run_id)
            deleted.append(run.run_id)
        else:
            cursor = run.run_id
        if time.monotonic() - began > seconds:
            return Sweep(deleted, cursor)
    return Sweep(deleted, cursor if len(runs) == most else None)


def _last_changed(instance: dg.DagsterInstance) -> str | None:
    """Returns the id of the run that changed last.

    It may have the newest event of the log. If that is deleted, SQLite uses its id again.
    """
    records = instance.get_run_records(limit=1, order_by="update_timestamp")
    return records[0].dagster_run.run_id if records else None


def _is_launched_by(launchers: Mapping[str, Collection[str]], tags: Mapping[str, str]) -> bool:
    """Whether a launcher (by tag and name) launched the run, or the run that it retries.

    A run that a user launches from an earlier run copies its tags. Unlike an automatic retry, it
    has a parent but no retry number; Dagster tells them apart likewise.
    """
    is_users = _FROM_UI_TAG in tags or (PARENT_RUN_ID_TAG in tags and RETRY_NUMBER_TAG not in tags)
    return (
        not is_users
        and BACKFILL_ID_TAG not in tags
        and any(tags.get(tag) in names for tag, names in launchers.items())
    )


def _is_superseded(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether the run holds no newest materialisation, of a partition or of a whole asset.

    A run that materialised nothing is superseded.
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
    """Returns the partitions that the run planned or materialised; None if unpartitioned.

    If the run's own log is missing, the log of all runs is searched, which is slower.
    """
    kinds = {_MATERIALIZATION, dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED}
    partitions = instance.get_asset_partitions_for_run(run_id, kinds)
    if partitions:
        return partitions
    records = instance.get_asset_event_summary_records(_MATERIALIZATION, run_id=run_id)
    return {
        key: {record.partition for record in records if record.asset_key == key}
        for key in {record.asset_key for record in records}
    }
