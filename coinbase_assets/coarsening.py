"""Coarser candles, summed up from finer ones. Pure: no Dagster, no I/O."""

from typing import Final

import numpy as np
import pyarrow as pa

from coinbase_assets.candles import SCHEMA

# Weeks begin with it: the first Monday of the epoch, in its seconds.
MONDAY: Final = 4 * 86_400


def coarsen_candles(candles: pa.Table, seconds: int) -> pa.Table:
    """Sum ascending candles up to longer ones, whose buckets are counted from a Monday, UTC.

    First open, highest high, lowest low, last close, summed volume; where there is none, none.
    """
    if not candles.num_rows:
        return candles
    time = candles["time"].cast(pa.int64()).to_numpy() // 1_000_000 - MONDAY
    bucket = time // seconds * seconds + MONDAY
    first = np.flatnonzero(np.diff(bucket, prepend=bucket[0] - 1))
    last = np.append(first[1:], len(bucket)) - 1
    columns = [
        pa.array(bucket[first] * 1_000_000).cast(SCHEMA.field("time").type),
        candles["open"].to_numpy()[first],
        np.maximum.reduceat(candles["high"].to_numpy(), first),
        np.minimum.reduceat(candles["low"].to_numpy(), first),
        candles["close"].to_numpy()[last],
        np.add.reduceat(candles["volume"].to_numpy(), first),
    ]
    return pa.table(columns, SCHEMA)
