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
from coinbase_assets.series import Granularity

# A run takes seconds to start, in which it asks for nothing, so it should ask for many days, yet
# not hold them back for much longer: they are recorded together. Measured as `python -m
# benchmarks backfill` does, at most three runs at a time (.dagster/dagster.yaml). 90 days of 1m
# for two series: 89 s in runs of 90 days, 100 s in runs of 31. 1,826 days of 15m: 89 s in runs of
# 250, 67 s in runs of 500, 72 s in runs of 1,000; with at most two runs at a time 77 s, since one
# that is alone while the other starts does not use the whole budget. 1,826 days of 1h: 36 s, 23
# s, 28 s in runs of 500, 1,000 and 2,000.
_DAYS_PER_RUN = {
    Granularity.ONE_MINUTE: 100,
    Granularity.FIVE_MINUTES: 500,
    Granularity.FIFTEEN_MINUTES: 500,
    Granularity.ONE_HOUR: 1000,
    Granularity.SIX_HOURS: 1000,
    Granularity.ONE_DAY: 1000,
}
MONTHS_PER_RUN = 24


def daily_partitions(start: date) -> dg.DailyPartitionsDefinition:
    """One partition a UTC day, the open day included."""
    return dg.DailyPartitionsDefinition(start.isoformat(), end_offset=1)


def monthly_partitions(start: date) -> dg.MonthlyPartitionsDefinition:
    """One partition a UTC month, from the month of `start` to the open one; keys like 2024-01."""
    return dg.MonthlyPartitionsDefinition(f"{start:%Y-%m}", fmt="%Y-%m", end_offset=1)


def days_per_run(granularity: Granularity) -> int:
    """How many daily partitions one run collects."""
    return _DAYS_PER_RUN[granularity]


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
