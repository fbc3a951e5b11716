"""Asset checks: each states a fact about the months of a series, and names those it is not true of.

They run with the history, over the months of the run and those that failed last; on their own, over
all months.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

import dagster as dg
import pyarrow as pa

from coinbase_assets.candles.calendar import month_of, month_range
from coinbase_assets.candles.datasets import (
    CANDLE_COVERAGE,
    CANDLE_HISTORY,
    CANDLE_ROLLUP,
    RAW_CANDLES,
    Dataset,
)
from coinbase_assets.candles.series import CandleSeries, Rollup, Series
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
from coinbase_assets.dagster_instance.run_tags import (
    PARTITION_RANGE_END_TAG,
    PARTITION_RANGE_START_TAG,
    PARTITION_TAG,
)
from coinbase_assets.monitoring.problems import newest_results
from coinbase_assets.storage.concurrency import map_concurrently
from coinbase_assets.storage.io_manager import AzureParquetIOManager
from coinbase_assets.storage.stored_blob import StoredBlob

if TYPE_CHECKING:
    from coinbase_assets.storage.parquet_store import ParquetStore

# A raw day that landed so recently may be newer than its month: the next run takes it over.
_JUST_LANDED = timedelta(minutes=10)
_MOST_SHOWN = 10
_FAILED_MONTHS = "failed_months"


@dataclass(frozen=True)
class _Month:
    """A month of a series as it is stored: history, ledger or rollup."""

    series: CandleSeries
    key: str
    table: pa.Table
    store: "ParquetStore"

    @cached_property
    def raw(self) -> Mapping[str, StoredBlob]:
        """The month's raw days, by their keys."""
        template = RAW_CANDLES.path(self.series)
        return self.store.list_partitions(template.partition("{")[0] + self.key)


# What breaks a fact in a month, a line each.
Rule = Callable[[_Month], Sequence[str]]


@dataclass(frozen=True)
class _Check:
    """A fact; what is `broken` is an error, what is `doubtful` a warning."""

    name: str
    description: str
    broken: Rule = lambda month: []
    doubtful: Rule = lambda month: []
    blocking: bool = True


def _differing_days(month: _Month) -> Sequence[str]:
    raw, now = month.raw, datetime.now(UTC)
    landed = {key: now - datetime.fromtimestamp(blob.version, UTC) for key, blob in raw.items()}
    digests = {
        # Days stored by version 0.1 have none.
        key: blob.fields.get("digest") or candles_digest(month.store.get(blob.path))
        for key, blob in raw.items()
    }
    ahead = frozenset(key for key, age in landed.items() if age < _JUST_LANDED)
    return differing_days(month.table, digests, ahead)


def _changed_days(month: _Month) -> Sequence[str]:
    return changed_days({key: blob.fields for key, blob in month.raw.items()})


def _not_collected(month: _Month) -> Sequence[str]:
    """Only between the first and the last day collected: the series ends there."""
    found = intervals_in(month.table, State.NOT_COLLECTED)
    if not found:
        return []
    days = month.store.list_partitions(RAW_CANDLES.folder(month.series))
    first, last = min(days, default=""), max(days, default="")
    return [line for line in found if first <= line[:10] <= last]


def _untiled(month: _Month) -> Sequence[str]:
    step = month.series.granularity.delta
    return ledger_tiling_faults(month.table, *month_range(month.key), step)


_CANDLE_CHECKS = [
    _Check(
        "candles_are_unique",
        "No two candles have the same time.",
        lambda m: repeated_times(m.table),
    ),
    _Check(
        "candles_are_ascending",
        "Candles are in the order of time.",
        lambda m: descending_times(m.table),
    ),
    _Check(
        "low_never_exceeds_high",
        "Low never exceeds high, and open and close lie between them.",
        lambda month: impossible_prices(month.table),
    ),
]
_HISTORY_CHECKS = [
    *_CANDLE_CHECKS,
    _Check(
        "history_equals_raw",
        "A month's candles are exactly those of its raw days.",
        _differing_days,
    ),
    _Check(
        "closed_candles_do_not_change",
        "The newest answers changed no closed candle, nor left one out.",
        doubtful=_changed_days,
        blocking=False,
    ),
]
_COVERAGE_CHECKS = [
    _Check(
        "every_hole_is_explained",
        "Between the first and the last day collected, all is collected and every hole confirmed.",
        broken=_not_collected,
        doubtful=lambda month: intervals_in(month.table, State.UNCONFIRMED),
        blocking=False,
    ),
    _Check("coverage_tiles_the_month", "The intervals leave no gap and do not overlap.", _untiled),
]


def build_candle_checks(series: Series) -> list[dg.AssetChecksDefinition]:
    """The checks of a series' history and of its coverage."""
    return [
        _build(series, CANDLE_HISTORY, _HISTORY_CHECKS),
        _build(series, CANDLE_COVERAGE, _COVERAGE_CHECKS),
    ]


def build_rollup_checks(rollup: Rollup) -> dg.AssetChecksDefinition:
    """The checks of a rollup: those of all candles."""
    return _build(rollup, CANDLE_ROLLUP, _CANDLE_CHECKS)


def _build(
    series: CandleSeries, dataset: Dataset, checks: Sequence[_Check]
) -> dg.AssetChecksDefinition:
    key = dg.AssetKey(dataset.asset_key(series))

    @dg.multi_asset_check(
        name=f"{'__'.join(key.path)}__checks".replace("-", "_"),
        specs=[
            dg.AssetCheckSpec(
                check.name, asset=key, description=check.description, blocking=check.blocking
            )
            for check in checks
        ],
        can_subset=True,
    )
    def run_checks(
        context: dg.AssetCheckExecutionContext, lake: dg.ResourceParam[AzureParquetIOManager]
    ) -> Iterator[dg.AssetCheckResult]:
        names = {check.name for check in context.selected_asset_check_keys}
        chosen = [check for check in checks if check.name in names]
        months, broken, doubtful = 0, _Findings(list), _Findings(list)
        failed = _failed_before(context)
        for month in _stored_months(series, dataset, context.run.tags, failed, lake.store):
            months += 1
            for check in chosen:
                broken[check.name] += [(month.key, line) for line in check.broken(month)]
                doubtful[check.name] += [(month.key, line) for line in check.doubtful(month)]
        for check in chosen:
            yield _result(key, check.name, broken[check.name], doubtful[check.name], months)

    return run_checks


# Of each check: the month, and what is wrong with it.
_Findings = defaultdict[str, list[tuple[str, str]]]


def _result(
    key: dg.AssetKey,
    name: str,
    broken: Sequence[tuple[str, str]],
    doubtful: Sequence[tuple[str, str]],
    months: int,
) -> dg.AssetCheckResult:
    found = [*broken, *doubtful]
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=name,
        passed=not found,
        severity=dg.AssetCheckSeverity.ERROR if broken else dg.AssetCheckSeverity.WARN,
        description="; ".join(line for _, line in found[:_MOST_SHOWN]) or None,
        metadata={
            "months_checked": months,
            _FAILED_MONTHS: ", ".join(dict.fromkeys(month for month, _ in found)),
            "found": len(found),
            "first_found": [line for _, line in found[:_MOST_SHOWN]],
        },
    )


def _failed_before(context: dg.AssetCheckExecutionContext) -> set[str]:
    """The months in which these checks failed last; Dagster keeps but one result of a check."""
    checks = list(context.selected_asset_check_keys)
    found = set[str]()
    for record in newest_results(context.instance, checks).values():
        event = record.event and record.event.dagster_event
        if event and event.asset_check_evaluation_data.metadata.get(_FAILED_MONTHS):
            text = event.asset_check_evaluation_data.metadata[_FAILED_MONTHS].value
            found.update(str(text).split(", "))
    return found


def _stored_months(
    series: CandleSeries,
    dataset: Dataset,
    tags: Mapping[str, str],
    besides: Collection[str],
    store: "ParquetStore",
) -> Iterator[_Month]:
    """The stored months of a run with these tags, all of them where it has no partitions, and
    those `besides`."""
    only = tags.get(PARTITION_TAG)
    first = tags.get(PARTITION_RANGE_START_TAG, only) or ""
    last = tags.get(PARTITION_RANGE_END_TAG, only) or "9999"
    stored = store.list_partitions(dataset.folder(series))
    months = [key for key in stored if month_of(first) <= key <= month_of(last) or key in besides]
    return map_concurrently(
        lambda key: _Month(series, key, store.get(stored[key].path), store), months
    )
