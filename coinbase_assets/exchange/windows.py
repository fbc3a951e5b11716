"""Which requests cover a time range. Pure: no Dagster, no I/O."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from coinbase_assets.series import Granularity

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
