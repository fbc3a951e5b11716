"""Revisions: how a newer answer of the exchange differs from a stored day. Pure: no I/O."""

from collections.abc import Mapping
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc

from coinbase_assets.candles.calendar import format_time
from coinbase_assets.candles.datasets import CANDLE_REVISIONS
from coinbase_assets.candles.days import Day
from coinbase_assets.candles.table import COLUMNS, TIME_TYPE, clip_candles, merge_candles
from coinbase_assets.table_metadata import with_fields

CHANGED, ADDED, VANISHED = CHANGES = ("changed", "added", "vanished")

_FETCHED = ("old_fetched_at", "new_fetched_at")
REVISION_SCHEMA = pa.schema(
    [pa.field("time", TIME_TYPE, nullable=False), ("change", pa.string())]
    + [(f"{age}_{column.name}", column.type) for age in ("old", "new") for column in COLUMNS]
    + [(name, TIME_TYPE) for name in _FETCHED]
)


def compare_days(stored: Day, asked: Day, merged: Day) -> pa.Table:
    """Return how `merged`, made of the days `stored` and `asked`, differs from `stored`.

    Columns as in REVISION_SCHEMA, a row for each bucket that differs, ascending. A candle is
    `changed` if a value differs, `added` if `stored` lacks the candle (its old values are null),
    and `vanished` if `merged` lacks it (its new values are null). Buckets that only `stored` or
    only `asked` covers are left out.

    `old_fetched_at` and `new_fetched_at` are the `refreshed_at` of `stored` and `asked`; they are
    fields of the table, too. The old values were stored at `old_fetched_at`, but an earlier answer
    may have brought them: a refresh replaces a part of a day. The field `version` is the version
    of `asked`.
    """
    old = clip_candles(stored.candles, stored.start, stored.answered_through)
    new = clip_candles(merged.candles, stored.start, stored.answered_through)
    times = merge_candles(old, new)["time"]
    before, after = _values_at(times, old), _values_at(times, new)
    change = _changes(before, after)
    fetched = [pa.scalar(day.refreshed_at, TIME_TYPE) for day in (stored, asked)]
    columns = [times, change, *before, *after, *(pa.repeat(time, len(times)) for time in fetched)]
    table = pa.table(columns, REVISION_SCHEMA).filter(pc.is_valid(change))
    return with_fields(table, _fields(stored, asked))


def count_changes(revisions: pa.Table) -> Mapping[str, str]:
    """Return the number of rows of each change, as the fields `candles_changed` and so on."""
    changes = revisions["change"]
    return {
        f"candles_{change}": str(pc.sum(pc.equal(changes, change)).as_py() or 0)
        for change in CHANGES
    }


def revisions_path(asked: Day) -> str:
    """Return the path of the blob with the revisions that the answer `asked` brought.

    The blob lies in the folder of its day, and is named after the exchange's time of the answer,
    to the second.
    """
    return CANDLE_REVISIONS.path(asked.series).format(
        partition=f"{asked.start:%F}", answered=f"{asked.refreshed_at:%FT%H-%M-%SZ}"
    )


def _values_at(times: pa.ChunkedArray, candles: pa.Table) -> list[pa.ChunkedArray]:
    """Return the columns of values at these times, null where there is no candle."""
    rows = pc.index_in(times, candles["time"].combine_chunks())
    return [candles[column.name].take(rows) for column in COLUMNS]


def _changes(old: list[pa.ChunkedArray], new: list[pa.ChunkedArray]) -> pa.ChunkedArray:
    """Return what happened to each candle, null where nothing did.

    A value that is null in either answer does not count as changed.
    """
    differing = (pc.fill_null(pc.not_equal(*pair), False) for pair in zip(old, new, strict=True))
    differs = reduce(pc.or_, differing)
    is_added, is_vanished = pc.is_null(old[0]), pc.is_null(new[0])
    conditions = pc.make_struct(is_added, is_vanished, differs)
    return pc.case_when(conditions, ADDED, VANISHED, CHANGED, pa.scalar(None, pa.string()))


def _fields(stored: Day, asked: Day) -> Mapping[str, str]:
    times = (stored.refreshed_at, asked.refreshed_at)
    return {
        "series": str(asked.series),
        "version": str(int(asked.refreshed_at.timestamp())),
        **{name: format_time(time) for name, time in zip(_FETCHED, times, strict=True)},
    }
