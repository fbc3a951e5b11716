"""Daily and monthly partitions, and how many of them one run materialises."""

from datetime import date

import dagster as dg

from coinbase_assets.candles.series import Granularity

# A run takes seconds to start, and sends no request in that time, so a run should collect many
# days. But Dagster records all days of a run at its end, and a back-fill's page moves only then, so
# a run should not be too long: within its request budget, about 25 s for 1m, 15 s for 5m, 8 s for
# 15m and 1h.
# Measured by `python -m benchmarks backfill`, with at most three runs at a time
# (dagster_instance/dagster.yaml):
#   90 days of 1m, two series: 89 s in runs of 90 days, 100 s in runs of 31
#   1,826 days of 15m: 89 s in runs of 250 days, 67 s in runs of 500, 72 s in runs of 1,000
#   1,826 days of 1h: 36 s in runs of 500 days, 23 s in runs of 1,000, 28 s in runs of 2,000
# With at most two runs at a time, the 1,826 days of 15m took 77 s in runs of 500 days: while one
# run starts, the other alone does not use the whole request budget. So the page of the 1,826 days
# of 15m moves eight times instead of four, and the last day comes a third later. Runs of 50 days of
# 1m and 150 days of 5m were not measured.
_DAYS_PER_RUN = {
    Granularity.ONE_MINUTE: 50,
    Granularity.FIVE_MINUTES: 150,
    Granularity.FIFTEEN_MINUTES: 250,
    Granularity.ONE_HOUR: 1000,
    Granularity.SIX_HOURS: 1000,
    Granularity.ONE_DAY: 1000,
}
MONTHS_PER_RUN = 24


def daily_partitions(start: date) -> dg.DailyPartitionsDefinition:
    """Return one partition per UTC day, from `start` to the open day.

    Keys look like 2024-01-31.
    """
    return dg.DailyPartitionsDefinition(start.isoformat(), end_offset=1)


def monthly_partitions(start: date) -> dg.MonthlyPartitionsDefinition:
    """Return one partition per UTC month, from the month of `start` to the open month.

    Keys look like 2024-01.
    """
    return dg.MonthlyPartitionsDefinition(f"{start:%Y-%m}", fmt="%Y-%m", end_offset=1)


def days_per_run(granularity: Granularity) -> int:
    """Return how many daily partitions one run collects."""
    return _DAYS_PER_RUN[granularity]
