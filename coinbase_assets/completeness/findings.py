"""What is wrong with a month of history or its ledger. Pure: no Dagster, no I/O.

Each function returns its findings, a line each, in order of time; none are good.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coinbase_assets.candles.calendar import DAY, day_start
from coinbase_assets.candles.months import raw_days
from coinbase_assets.candles.table import candles_digest, clip_candles
from coinbase_assets.completeness.ledger import State

_CHANGES = ("changed", "vanished", "unanswered")


def repeated_times(history: pa.Table) -> list[str]:
    """Times that several candles have."""
    times, counts = np.unique(history["time"].to_numpy(), return_counts=True)
    return [f"{time}Z" for time in times[counts > 1].astype("datetime64[s]")]


def descending_times(history: pa.Table) -> list[str]:
    """Times after a later one."""
    times = history["time"].cast(pa.int64()).to_numpy()
    after_a_later_one = times < np.maximum.accumulate(times)
    late = history["time"].filter(pa.array(after_a_later_one)).to_pylist()
    return [f"{time:%FT%TZ}" for time in late]


def impossible_prices(history: pa.Table) -> list[str]:
    """Candles with a low above their high, or an open or a close outside of them."""
    low, high = history["low"].to_numpy(), history["high"].to_numpy()
    possible = low <= high
    for name in ("open", "close"):
        price = history[name].to_numpy()
        possible &= (low <= price) & (price <= high)
    rows = history.filter(pa.array(~possible)).to_pylist()
    return [f"{row.pop('time'):%FT%TZ} {row}" for row in rows]


def differing_days(
    history: pa.Table, digests: Mapping[str, str], ahead: frozenset[str] = frozenset()
) -> list[str]:
    """Days whose candles in the month are not those of the raw day.

    `digests` are those of the raw days there are, by their keys; days `ahead`, which landed only
    just, may be newer than the month.
    """
    found, rows = [], 0
    known = raw_days(history)
    for key in sorted(known.keys() | digests.keys()):
        candles = clip_candles(history, day_start(key), day_start(key) + DAY)
        rows += candles.num_rows
        if key in ahead:
            continue
        if key not in known or key not in digests:
            found.append(f"{key}: in the {'raw days' if key in digests else 'history'} only")
        elif candles_digest(candles) != digests[key]:
            found.append(f"{key}: other candles than the raw day")
    if rows < history.num_rows:
        found.append(f"{history.num_rows - rows} candles of no raw day")
    return found


def changed_days(fields: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Days in whose closed candles the newest answer changed something; by their raw fields."""
    found = []
    for key, day in sorted(fields.items()):
        counts = {change: int(day.get(f"candles_{change}", 0)) for change in _CHANGES}
        if said := ", ".join(f"{count} {change}" for change, count in counts.items() if count):
            found.append(f"{key}: {said}")
    return found


def unexplained(ledger: pa.Table, state: State) -> list[str]:
    """The intervals in that state."""
    rows = ledger.filter(pc.equal(ledger["state"], state.value)).to_pylist()
    return [
        f"{row['start']:%FT%RZ} to {row['end']:%FT%RZ}, {row['buckets']} buckets: {row['evidence']}"
        for row in rows
    ]


def untiled(ledger: pa.Table, start: datetime, end: datetime, step: timedelta) -> list[str]:
    """Where the intervals leave a gap, overlap, are not maximal, or miscount their buckets."""
    states = np.array(ledger["state"].to_pylist(), dtype=str)
    starts, ends = (ledger[name].cast(pa.int64()).to_numpy() for name in ("start", "end"))
    month = [int(time.timestamp()) * 1_000_000 for time in (start, end)]
    follows = np.append(starts, month[1]) == np.insert(ends, 0, month[0])
    counts = ledger["buckets"].to_numpy()
    counted = (ends - starts == counts * (step // timedelta(microseconds=1))) & (counts > 0)
    broken = {
        "the interval before does not end here": ~follows,
        "the interval before is in the same state": np.insert(states[1:] == states[:-1], 0, False),
        "its buckets do not fill it": ~counted,
    }
    times = np.append(starts, month[1]).astype("datetime64[us]").astype("datetime64[s]")
    found = [(times[at], rule) for rule, is_at in broken.items() for at in np.flatnonzero(is_at)]
    return [f"{time}Z: {rule}" for time, rule in sorted(found)]
