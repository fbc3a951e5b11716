"""Partitions that were materialised since a sensor's last tick, on any storage of Dagster."""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import TypeVar

import dagster as dg

from coinbase_assets.automation.event_cursors import EventCursor

_T = TypeVar("_T")
_Found = Mapping[_T, Mapping[str, int]]


def read_new_partitions(
    instance: dg.DagsterInstance, inputs: Mapping[_T, dg.AssetKey], cursor: EventCursor, now: float
) -> tuple[_Found[_T], EventCursor]:
    """Return the new partitions of each input, with the ids of their events, and the new cursor.

    What is recorded meanwhile is left to the next tick, so that it does not come in two parts.
    """
    rows = _newest_storage_ids(instance, list(inputs.values()))
    digest = sha256(json.dumps(rows).encode()).hexdigest()[:16]
    if not any(rows) or digest == cursor.rows:
        return {}, cursor
    found = {each: _unhandled(instance, key, cursor) for each, key in inputs.items()}
    bound = max([*rows, cursor.newest])
    new = {each: {key: n for key, n in ids.items() if n <= bound} for each, ids in found.items()}
    known = all_ids(found)
    is_all = len(all_ids(new)) == len(known)
    moved = cursor.after(all_ids(new), max([bound, *known]), digest if is_all else "", now)
    return {each: ids for each, ids in new.items() if ids}, moved


def all_ids(found: _Found[_T]) -> Sequence[int]:
    """Return the ids of all events found."""
    return [storage_id for ids in found.values() for storage_id in ids.values()]


def _newest_storage_ids(instance: dg.DagsterInstance, keys: Sequence[dg.AssetKey]) -> Sequence[int]:
    """Return the storage id of each asset's materialisation that was written last, 0 if none."""
    entries = [record.asset_entry for record in instance.get_asset_records(keys)]
    ids = {entry.asset_key: entry.last_materialization_storage_id or 0 for entry in entries}
    return [ids.get(key, 0) for key in keys]


def _unhandled(
    instance: dg.DagsterInstance, key: dg.AssetKey, cursor: EventCursor
) -> Mapping[str, int]:
    """Return the partitions whose newest event is not handled, with its id.

    The older events of a partition need no look: their data was stored before.
    """
    storage_ids = instance.get_latest_storage_id_by_partition(
        key, dg.DagsterEventType.ASSET_MATERIALIZATION, after_cursor=cursor.settled
    )
    return {
        partition: storage_id
        for partition, storage_id in storage_ids.items()
        if not cursor.has_handled(storage_id)
    }
