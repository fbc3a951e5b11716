"""Revisions: what the exchange tells otherwise than it did when a day was stored. Pure: no I/O."""

from collections.abc import Mapping
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc

from coinbase_assets.candles.datasets import CANDLE_REVISIONS
from coinbase_assets.candles.days import Day
from coinbase_assets.candles.table import SCHEMA, clip_candles, merge_candles
from coinbase_assets.table_metadata import with_fields

CHANGED, ADDED, VANISHED = CHANGES = ("changed", "added", "vanished")

_VALUES = SCHEMA.names[1:]
_FETCHED = ("old_fetched_at", "new_fetched_at")
REVISION_SCHEMA = pa.schema(
    [SCHEMA.field("time"), ("change", pa.string())]
    + [(f"{age}_{name}", pa.float64()) for age in ("old", "new") for name in _VALUES]
    + [(name, SCHEMA.field("time").type) for name in _FETCHED]
)


def compare_days(stored: Day, asked: Day, merged: Day) -> pa.Table:
    """What `merged`, made of the other two, changes of `stored`: REVISION_SCHEMA, ascending.

    Only buckets that were answered for both count, and of them those whose candle is `changed`, if
    any of its values is another, `added`, if `stored` has none (old values null), or `vanished`, if
    `merged` has none (new values null).

    The fetch times are the `refreshed_at` of `stored` and `asked`, also as fields; at
    `old_fetched_at` the stored day held the old values, which a refresh in part may have left as an
    earlier answer told them. The field `version` is that of `asked`.
    """
    old = clip_candles(stored.candles, stored.start, stored.answered_through)
    new = clip_candles(merged.candles, stored.start, stored.answered_through)
    times = merge_candles(old, new)["time"]
    before, after = _at(times, old), _at(times, new)
    change = _changes(before, after)
    fetched = [pa.scalar(day.refreshed_at, times.type) for day in (stored, asked)]
    columns = [times, change, *before, *after, *(pa.repeat(one, len(times)) for one in fetched)]
    table = pa.table(columns, REVISION_SCHEMA).filter(pc.is_valid(change))
    return with_fields(table, _fields(stored, asked))


def count_changes(revisions: pa.Table) -> Mapping[str, str]:
    """The fields `candles_changed`, `candles_added` and `candles_vanished`: how many rows each."""
    changes = revisions["change"]
    return {
        f"candles_{change}": str(pc.sum(pc.equal(changes, change)).as_py() or 0)
        for change in CHANGES
    }


def revisions_path(asked: Day) -> str:
    """The blob of what `asked` tells otherwise, in the folder of its day.

    Named after the time of the answer, to the second.
    """
    return CANDLE_REVISIONS.path(asked.series).format(
        partition=f"{asked.start:%F}", answered=f"{asked.refreshed_at:%FT%H-%M-%SZ}"
    )


def _at(times: pa.ChunkedArray, candles: pa.Table) -> list[pa.ChunkedArray]:
    """The columns of values at these times; null where there is no candle."""
    rows = pc.index_in(times, candles["time"].combine_chunks())
    return [candles[name].take(rows) for name in _VALUES]


def _changes(old: list[pa.ChunkedArray], new: list[pa.ChunkedArray]) -> pa.ChunkedArray:
    """What happened to each candle; null where nothing did."""
    differs = reduce(pc.or_, map(pc.not_equal, old, new))
    conditions = pc.make_struct(pc.is_null(old[0]), pc.is_null(new[0]), differs)
    return pc.case_when(conditions, ADDED, VANISHED, CHANGED, pa.scalar(None, pa.string()))


def _fields(stored: Day, asked: Day) -> Mapping[str, str]:
    times = (stored.refreshed_at, asked.refreshed_at)
    return {
        "series": str(asked.series),
        "version": str(int(asked.refreshed_at.timestamp())),
        **{name: f"{time:%FT%TZ}" for name, time in zip(_FETCHED, times, strict=True)},
    }
