"""Finds back-fills that have ended and describes them by what the lake holds."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from coinbase_assets.candles.calendar import as_ranges
from coinbase_assets.candles.datasets import RAW_CANDLES, dataset_of
from coinbase_assets.dagster_instance.deployment import OWN, Deployment
from coinbase_assets.dagster_instance.private_names import (
    ENDED_BACKFILLS,
    SUCCESSFUL_BACKFILLS,
    UNFINISHED_BACKFILLS,
    BulkActionsFilter,
)
from coinbase_assets.durations import in_words
from coinbase_assets.environment.secrets import public_lines
from coinbase_assets.lake.stock import stored_partitions
from coinbase_assets.monitoring.destinations import Level, Message
from coinbase_assets.monitoring.subjects import subject_of

if TYPE_CHECKING:
    from coinbase_assets.dagster_instance.private_names import (
        AssetGraphSubset,
        PartitionBackfill,
    )
    from coinbase_assets.storage.parquet_store import ParquetStore

_LOOK_BACK = timedelta(days=7)
_MOST = 50


@dataclass(frozen=True)
class _Part:
    """The partitions of one asset in a back-fill: how many it has, and which are not stored."""

    key: dg.AssetKey
    total: int
    missing: Sequence[str]

    def __str__(self) -> str:
        stored = f"{self.total - len(self.missing)} of {self.total} partitions are stored"
        lack = f"; missing: {as_ranges(self.missing)}" if any(self.missing) else ""
        return f"{self.key.to_user_string()}: {stored}{lack}"


def ended_backfills(instance: dg.DagsterInstance, now: datetime) -> "Sequence[PartitionBackfill]":
    """Return the newest back-fills that were launched in the last week and have ended."""
    filters = BulkActionsFilter(statuses=ENDED_BACKFILLS, created_after=now - _LOOK_BACK)
    return instance.get_backfills(filters, limit=_MOST)


def is_filling(instance: dg.DagsterInstance) -> bool:
    """Return whether a back-fill is under way."""
    return bool(instance.get_backfills(BulkActionsFilter(statuses=UNFINISHED_BACKFILLS), limit=1))


def backfill_message(
    backfill: "PartitionBackfill",
    store: "ParquetStore",
    now: datetime,
    web_url: str | None,
    deployment: Deployment = OWN,
) -> Message | None:
    """Return the message about an ended back-fill: its outcome, and what is missing in the lake.

    Returns None for a back-fill of other assets alone. Raises StorageError.
    """
    parts = list(_parts(backfill, store, deployment))
    if not parts and deployment.keys:
        return None
    total, missing = sum(part.total for part in parts), sum(len(part.missing) for part in parts)
    is_success = backfill.status in SUCCESSFUL_BACKFILLS
    status = backfill.status.value.removeprefix("COMPLETED_").lower()
    lines = [*map(str, parts), f"It took {in_words(_duration(backfill, now))}."]
    lines += [f"To go on: {command}" for part in parts for command in _commands(part, deployment)]
    if web_url:
        lines.append(f"{web_url}/runs/b/{backfill.backfill_id}")
    return Message(
        f"back-fill {backfill.backfill_id}",
        f"Back-fill {status}: {total - missing} of {total} partitions are stored",
        public_lines("\n".join(lines)),
        Level.SUCCESS if is_success and not missing else Level.WARNING,
    )


def _duration(backfill: "PartitionBackfill", now: datetime) -> timedelta:
    ended = backfill.backfill_end_timestamp or now.timestamp()
    return timedelta(seconds=ended - backfill.backfill_timestamp)


def _parts(
    backfill: "PartitionBackfill", store: "ParquetStore", deployment: Deployment
) -> Iterator[_Part]:
    """Yield the assets of a back-fill; what no dataset of the lake has counts as recorded."""
    data = backfill.asset_backfill_data
    if not data:
        return
    wanted, recorded = _keys(data.target_subset), _keys(data.materialized_subset)
    for key in filter(deployment.owns, wanted):
        partitions = wanted[key]
        there = _stored(deployment.dataset_key(key), store) or recorded.get(key, [])
        yield _Part(key, len(partitions), [each for each in partitions if each not in there])


def _keys(subset: "AssetGraphSubset") -> Mapping[dg.AssetKey, Sequence[str]]:
    """Return the partition keys of each asset, ascending; an asset without partitions has ""."""
    keys = defaultdict[dg.AssetKey, list[str]](list)
    for partition in sorted(subset.iterate_asset_partitions()):
        keys[partition.asset_key].append(partition.partition_key or "")
    return keys


def _stored(key: dg.AssetKey, store: "ParquetStore") -> Collection[str]:
    place = dataset_of(key.path)
    return stored_partitions(store, *place) if place and place[0].partition else ()


def _commands(part: _Part, deployment: Deployment) -> Iterator[str]:
    if part.missing and deployment.dataset_key(part.key).path[-1] == RAW_CANDLES.name:
        days = f"--from {part.missing[0]} --to {part.missing[-1]}"
        yield f"coinbase-assets collect --series {subject_of(part.key, deployment)} {days}"
