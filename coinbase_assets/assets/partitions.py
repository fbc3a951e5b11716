"""The days of raw candles, the months of the history, and how many of them go in a run."""

from datetime import date

import dagster as dg

from coinbase_assets.candles.series import Granularity

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
