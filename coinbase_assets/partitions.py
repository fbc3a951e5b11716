"""The days of raw candles, the months of the history, and how many of them go in a run."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from itertools import groupby

import dagster as dg
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
)

from coinbase_assets.days import DAY
from coinbase_assets.exchange.windows import MAX_CANDLES
from coinbase_assets.series import Granularity

# A run takes seconds to start, in which it asks for nothing, so it should ask for about a
# minute's worth of requests, yet not hold its days back for much longer: they are recorded
# together. Measured as `python -m benchmarks backfill` does, at most three runs at a time
# (.dagster/dagster.yaml): 1,826 days of 15m took 67 s in runs of 500, 72 s in runs of 1,000 and
# 89 s in runs of 250; two times 90 days of 1m took 89 s in runs of 104 and 100 s in runs of 31.
# At most two at a time took 77 s for the 1,826 days: while one ends and the next begins, a single
# one does not use the whole budget.
_REQUESTS_PER_RUN = 500
_MOST_DAYS_PER_RUN = 500
MONTHS_PER_RUN = 24


def daily_partitions(start: date) -> dg.DailyPartitionsDefinition:
    """One partition a UTC day, the open day included."""
    return dg.DailyPartitionsDefinition(start.isoformat(), end_offset=1)


def monthly_partitions(start: date) -> dg.MonthlyPartitionsDefinition:
    """One partition a UTC month, from the month of `start` to the open one; keys like 2024-01."""
    return dg.MonthlyPartitionsDefinition(f"{start:%Y-%m}", fmt="%Y-%m", end_offset=1)


def days_per_run(granularity: Granularity) -> int:
    """How many daily partitions one run collects."""
    days = _REQUESTS_PER_RUN * MAX_CANDLES * granularity.delta // DAY
    return min(days, _MOST_DAYS_PER_RUN)


def day_start(partition_key: str) -> datetime:
    return datetime.fromisoformat(partition_key).replace(tzinfo=UTC)


def month_of(day_key: str) -> str:
    """The key of the month that holds a day: 2024-01 for 2024-01-31."""
    return day_key[:7]


def month_range(month_key: str) -> tuple[datetime, datetime]:
    """The month's first instant, and the one after its last."""
    start = day_start(f"{month_key}-01")
    return start, (start + 31 * DAY).replace(day=1)


def adjoining(keys: Sequence[str], most: int) -> Iterator[Sequence[str]]:
    """The keys, ascending days or months, in lists of at most so many that adjoin."""
    for _, group in groupby(enumerate(keys), key=lambda item: _ordinal(item[1]) - item[0]):
        run = [key for _, key in group]
        yield from (run[index : index + most] for index in range(0, len(run), most))


def range_tags(first: str, last: str) -> dict[str, str]:
    """The tags of a run over the partitions from the first key to the last."""
    return {ASSET_PARTITION_RANGE_START_TAG: first, ASSET_PARTITION_RANGE_END_TAG: last}


def _ordinal(key: str) -> int:
    """A number that grows by one from a day's, or a month's, key to the next."""
    year, month, *day = map(int, key.split("-"))
    return date(year, month, *day).toordinal() if day else 12 * year + month
