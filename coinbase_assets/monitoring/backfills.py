"""Finds back-fills that have ended and describes them: duration, partitions, what is missing."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from coinbase_assets.dagster_instance.private_names import ENDED_BACKFILLS, BulkActionsFilter
from coinbase_assets.environment.secrets import public
from coinbase_assets.monitoring.destinations import Message

if TYPE_CHECKING:
    from coinbase_assets.dagster_instance.private_names import PartitionBackfill

_LOOK_BACK = timedelta(days=7)
_MOST = 50
_MOST_NAMED = 10


def ended_backfills(instance: dg.DagsterInstance, now: datetime) -> "Sequence[PartitionBackfill]":
    """Returns the newest back-fills that were launched in the last week and have ended."""
    filters = BulkActionsFilter(statuses=ENDED_BACKFILLS, created_after=now - _LOOK_BACK)
    return instance.get_backfills(filters, limit=_MOST)


def backfill_message(backfill: "PartitionBackfill", now: datetime) -> Message:
    """Returns the message about an ended back-fill: its status, duration and missing partitions."""
    status = backfill.status.value.removeprefix("COMPLETED_").lower()
    return Message(
        f"back-fill {backfill.backfill_id}", f"Back-fill: {status}", _describe(backfill, now)
    )


def _describe(backfill: "PartitionBackfill", now: datetime) -> str:
    began = datetime.fromtimestamp(backfill.backfill_timestamp, UTC)
    ended = backfill.backfill_end_timestamp
    took = (datetime.fromtimestamp(ended, UTC) if ended else now) - began
    data = backfill.asset_backfill_data
    if not data:
        return str(took)
    wanted = data.target_subset
    left = wanted - data.materialized_subset
    total, missing = (subset.num_partitions_and_non_partitioned_assets for subset in (wanted, left))
    assets = ", ".join(sorted(key.to_user_string() for key in wanted.asset_keys))
    line = f"{assets}: {total - missing} of {total} partitions in {str(took).split('.')[0]}"
    names = [
        f"{partition.asset_key.to_user_string()} {partition.partition_key}"
        for partition in sorted(left.iterate_asset_partitions())
    ]
    return f"{line}\nmissing: {_shorten(names)}" if names else line


def _shorten(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return public(", ".join(names[:_MOST_NAMED])) + more
