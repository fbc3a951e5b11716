"""Which requests cover a time range. Pure: no Dagster, no I/O."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from coinbase_assets.candles.series import Granularity, Series

# An answer holds at most this many candles (the API's documentation).
MAX_CANDLES = 300


@dataclass(frozen=True)
class Window:
    """The buckets of one request, from `start` to before `end`, both on the grid (UTC)."""

    start: datetime
    end: datetime

    def __str__(self) -> str:
        return f"{self.start:%FT%TZ} to before {self.end:%FT%TZ}"


def request_windows(start: datetime, end: datetime, granularity: Granularity) -> Iterator[Window]:
    """The fewest windows that cover `start` to before `end`, in order."""
    while start < end:
        window = Window(start, min(start + MAX_CANDLES * granularity.delta, end))
        yield window
        start = window.end


@dataclass(frozen=True)
class Answer:
    """What the exchange holds of a window: its closed candles, ascending.

    `as_of` is the exchange's time of the answer, `requests` how many were sent for it.
    """

    series: Series
    window: Window
    candles: pa.Table
    as_of: datetime
    requests: int

    @property
    def answered_through(self) -> datetime:
        """Up to where the answer tells all: the window's end, or the bucket still open."""
        step = self.series.granularity.delta
        closed = self.window.start + (self.as_of - self.window.start) // step * step
        return max(self.window.start, min(self.window.end, closed))
