"""Request windows that cover a time range, and the answers to them. Pure: no I/O."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from coinbase_assets.candles.series import Granularity, Series

# The most candles in an answer (the API's documentation).
MAX_CANDLES = 300


@dataclass(frozen=True)
class Window:
    """The time range of a request, from `start` until `end`, both bucket starts in UTC."""

    start: datetime
    end: datetime

    def __str__(self) -> str:
        return f"{self.start:%FT%TZ} until {self.end:%FT%TZ}"

    def lies_in(self, other: "Window") -> bool:
        return other.start <= self.start and self.end <= other.end


def request_windows(start: datetime, end: datetime, granularity: Granularity) -> Iterator[Window]:
    """Yield the fewest windows that cover `start` until `end`, in order."""
    while start < end:
        window = Window(start, min(start + MAX_CANDLES * granularity.delta, end))
        yield window
        start = window.end


def join_windows(windows: Iterable[Window]) -> Sequence[Window]:
    """Return the time that any of the windows covers, as separate windows, ascending."""
    joined: list[Window] = []
    for each in sorted(windows, key=lambda window: window.start):
        if joined and each.start <= joined[-1].end:
            joined[-1] = Window(joined[-1].start, max(each.end, joined[-1].end))
        else:
            joined.append(each)
    return joined


Question = tuple[Series, datetime, datetime]
"""Candles of a series, from a time until another."""


@dataclass(frozen=True)
class Answer:
    """The exchange's answer for a window: its closed candles, ascending.

    `as_of` is the exchange's time of the answer, `requests` the number of requests sent for it.
    """

    series: Series
    window: Window
    candles: pa.Table
    as_of: datetime
    requests: int

    def __str__(self) -> str:
        return f"{self.series} {self.window}: {self.candles.num_rows} candles"

    @property
    def answered_through(self) -> datetime:
        """The first instant not answered: the window's end, or the start of the open bucket."""
        step = self.series.granularity.delta
        closed = self.window.start + (self.as_of - self.window.start) // step * step
        return max(self.window.start, min(self.window.end, closed))
