"""The asset checks of candles: each states a fact that has to be true of every stored month.

`month_checks.py` runs them. To add a check, add a `Check` to a list below, and a function to
`completeness/findings.py` that finds what contradicts its fact.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg

from coinbase_assets.assets.month_checks import Check, StoredMonth, build_month_checks
from coinbase_assets.candles.calendar import month_range
from coinbase_assets.candles.datasets import (
    CANDLE_COVERAGE,
    CANDLE_HISTORY,
    CANDLE_ROLLUP,
)
from coinbase_assets.candles.series import Rollup, Series
from coinbase_assets.candles.table import candles_digest
from coinbase_assets.completeness.findings import (
    changed_days,
    descending_times,
    differing_days,
    impossible_prices,
    intervals_in,
    ledger_tiling_faults,
    repeated_times,
)
from coinbase_assets.completeness.ledger import State
from coinbase_assets.dagster_instance.deployment import OWN, Deployment

# A raw day stored so recently may be newer than its month: the next run adds it.
_JUST_STORED = timedelta(minutes=10)


def build_candle_checks(
    series: Series, deployment: Deployment = OWN
) -> list[dg.AssetChecksDefinition]:
    """Return the checks of a series: those of its history and those of its coverage."""
    return [
        build_month_checks(series, CANDLE_HISTORY, HISTORY_CHECKS, deployment),
        build_month_checks(series, CANDLE_COVERAGE, COVERAGE_CHECKS, deployment),
    ]


def build_rollup_checks(rollup: Rollup, deployment: Deployment = OWN) -> dg.AssetChecksDefinition:
    """Return the checks of a rollup."""
    return build_month_checks(rollup, CANDLE_ROLLUP, CANDLE_CHECKS, deployment)


def _days_unlike_raw(month: StoredMonth) -> Sequence[str]:
    recent = (datetime.now(UTC) - _JUST_STORED).timestamp()
    just_stored = frozenset(key for key, raw in month.raw.items() if raw.version > recent)
    digests = {
        # Days stored by version 0.1 have no digest.
        key: raw.fields.get("digest") or candles_digest(month.store.get(raw.path))
        for key, raw in month.raw.items()
    }
    return differing_days(month.table, digests, just_stored)


def _changed_days(month: StoredMonth) -> Sequence[str]:
    return changed_days({key: raw.fields for key, raw in month.raw.items()})


def _unconfirmed(month: StoredMonth) -> Sequence[str]:
    return intervals_in(month.table, State.UNCONFIRMED)


def _tiling_faults(month: StoredMonth) -> Sequence[str]:
    step = month.series.granularity.delta
    return ledger_tiling_faults(month.table, *month_range(month.key), step)


CANDLE_CHECKS = [
    Check(
        "candles_are_unique",
        "No two candles have the same time.",
        errors=lambda month: repeated_times(month.table),
    ),
    Check(
        "candles_are_ascending",
        "Candles are in ascending order of time.",
        errors=lambda month: descending_times(month.table),
    ),
    Check(
        "low_never_exceeds_high",
        "Low never exceeds high, and open and close lie between them.",
        errors=lambda month: impossible_prices(month.table),
    ),
]
HISTORY_CHECKS = [
    *CANDLE_CHECKS,
    Check(
        "history_equals_raw",
        "A month's candles are exactly the candles of its raw days.",
        errors=_days_unlike_raw,
    ),
    Check(
        "closed_candles_do_not_change",
        "The newest answers have not changed a closed candle, and have not left one out.",
        warnings=_changed_days,
        blocking=False,
    ),
]
COVERAGE_CHECKS = [
    Check(
        "every_hole_is_explained",
        "Every hole in the collected days is explained. Days that were not collected do not count.",
        warnings=_unconfirmed,
        blocking=False,
    ),
    Check(
        "coverage_tiles_the_month",
        "The intervals leave no gap and do not overlap.",
        errors=_tiling_faults,
    ),
]
