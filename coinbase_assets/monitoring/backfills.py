"""Back-fills that have ended: how many partitions, how long, what is missing."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus, PartitionBackfill

from coinbase_assets.monitoring.destinations import Message

_ENDED = [
    BulkActionStatus.COMPLETED,
    BulkActionStatus.COMPLETED_SUCCESS,
    BulkActionStatus.COMPLETED_FAILED,
    BulkActionStatus.FAILED,
    BulkActionStatus.CANCELED,
]
_LOOK_BACK = timedelta(days=7)
_MOST = 50
_MOST_NAMED = 10


def ended_backfills(instance: dg.DagsterInstance, now: datetime) -> Sequence[PartitionBackfill]:
    """Those begun in the last week."""
    filters = BulkActionsFilter(statuses=_ENDED, created_after=now - _LOOK_BACK)
    return instance.get_backfills(filters, limit=_MOST)


def backfill_message(backfill: PartitionBackfill, now: datetime) -> Message:
    """What came of it."""
    began = datetime.fromtimestamp(backfill.backfill_timestamp, UTC)
    ended = backfill.backfill_end_timestamp
    took = (datetime.fromtimestamp(ended, UTC) if ended else now) - began
    how = backfill.status.value.removeprefix("COMPLETED_").lower()
    data = backfill.asset_backfill_data
    if not data:
        return Message(f"back-fill {backfill.backfill_id}", f"Back-fill: {how}", str(took))
    wanted, done = data.target_subset, data.materialized_subset
    total, missing = (
        subset.num_partitions_and_non_partitioned_assets for subset in (wanted, wanted - done)
    )
    assets = ", ".join(sorted(key.to_user_string() for key in wanted.asset_keys))
    lines = [f"{assets}: {total - missing} of {total} partitions in {str(took).split('.')[0]}"]
    if names := list(_names(wanted - done)):
        more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
        lines.append(f"missing: {', '.join(names[:_MOST_NAMED])}{more}")
    return Message(f"back-fill {backfill.backfill_id}", f"Back-fill: {how}", "\n".join(lines))


def _names(subset: object) -> Iterator[str]:
    for one in sorted(subset.iterate_asset_partitions()):  # type: ignore[attr-defined]
        yield f"{one.asset_key.to_user_string()} {one.partition_key}"
