"""What is wrong with a month of history or its ledger. Pure: no I/O.

Each function returns its findings in order of time, a line for each; an empty list is good.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coinbase_assets.candles.calendar import DAY, day_start, format_time
from coinbase_assets.candles.months import raw_days
from coinbase_assets.candles.rules import describe_candle, price_rules
from coinbase_assets.candles.table import candles_digest, clip_candles, epoch_microseconds
from coinbase_assets.completeness.ledger import State
from coinbase_assets.plain_text import shown

_CHANGES = ("changed", "vanished", "unanswered")
_MOST_OF_EVIDENCE = 300


def repeated_times(history: pa.Table) -> list[str]:
    """Return the times that several candles have."""
    times, counts = np.unique(history["time"].to_numpy(), return_counts=True)
    return [f"{time}Z" for time in times[counts > 1].astype("datetime64[s]")]


def descending_times(history: pa.Table) -> list[str]:
    """Return the times of candles that come after a candle of a later time."""
    times = epoch_microseconds(history["time"])
    is_late = times < np.maximum.accumulate(times)
    return [format_time(time) for time in history["time"].filter(pa.array(is_late)).to_pylist()]


def impossible_prices(history: pa.Table) -> list[str]:
    """Return the candles with a low above their high, or an open or close outside of the two."""
    broken = np.logical_or.reduce([is_broken for _, is_broken in price_rules(history)])
    return [describe_candle(history, index) for index in np.flatnonzero(broken).tolist()]


def differing_days(
    history: pa.Table, digests: Mapping[str, str], ahead: frozenset[str] = frozenset()
) -> list[str]:
    """Return the days whose candles in the month differ from their raw day.

    `digests` are the digests of the stored raw days, by their keys. Raw days stored just now are
    `ahead` of the month, and are not compared.
    """
    found, rows = [], 0
    joined = raw_days(history)
    for key in sorted(joined.keys() | digests.keys()):
        candles = clip_candles(history, day_start(key), day_start(key) + DAY)
        rows += candles.num_rows
        if key in ahead:
            continue
        if key not in joined or key not in digests:
            found.append(f"{key}: in the {'raw days' if key in digests else 'history'} only")
        elif candles_digest(candles) != digests[key]:
            found.append(f"{key}: differs from the raw day")
    if rows < history.num_rows:
        found.append(f"{history.num_rows - rows} candles in no raw day")
    return found


def changed_days(fields: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return the days whose newest answer changed closed candles, from their fields by day key."""
    found = []
    for key, day in sorted(fields.items()):
        counts = {change: int(day.get(f"candles_{change}", 0)) for change in _CHANGES}
        if changes := ", ".join(f"{count} {change}" for change, count in counts.items() if count):
            found.append(f"{key}: {changes}")
    return found


def intervals_in(ledger: pa.Table, state: State) -> list[str]:
    """Return the intervals in a state, with their evidence."""
    rows = ledger.filter(pc.equal(ledger["state"], state.value)).to_pylist()
    return [
        f"{row['start']:%FT%RZ} to {row['end']:%FT%RZ}, {row['buckets']} buckets:"
        f" {shown(row['evidence'], _MOST_OF_EVIDENCE)}"
        for row in rows
    ]


def ledger_tiling_faults(
    ledger: pa.Table, start: datetime, end: datetime, step: timedelta
) -> list[str]:
    """Return where the intervals do not tile the range from `start` until `end`.

    There they leave a gap, overlap, are not maximal, or miscount their buckets of length `step`.
    """
    states = np.array(ledger["state"].to_pylist(), dtype=str)
    starts, ends = (epoch_microseconds(ledger[name]) for name in ("start", "end"))
    first, last = (int(time.timestamp()) * 1_000_000 for time in (start, end))
    follows = np.append(starts, last) == np.insert(ends, 0, first)
    counts = ledger["buckets"].to_numpy()
    counted = (ends - starts == counts * (step // timedelta(microseconds=1))) & (counts > 0)
    broken = {
        "the interval before does not end here": ~follows,
        "the interval before is in the same state": np.insert(states[1:] == states[:-1], 0, False),
        "its buckets do not fill it": ~counted,
    }
    times = np.append(starts, last).astype("datetime64[us]").astype("datetime64[s]")
    found = [(times[at], rule) for rule, is_at in broken.items() for at in np.flatnonzero(is_at)]
    return [f"{time}Z: {rule}" for time, rule in sorted(found)]
