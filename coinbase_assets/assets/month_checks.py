"""Asset checks that look at each stored month of a dataset, and name the months that fail.

In a run that materialises months, they look at these months and at those that failed the last time.
In a run of checks alone, they look at all months.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import dagster as dg
import pyarrow as pa

from coinbase_assets.candles.calendar import month_of
from coinbase_assets.candles.datasets import RAW_CANDLES, Dataset
from coinbase_assets.candles.metadata_keys import FAILED_MONTHS
from coinbase_assets.candles.series import CandleSeries
from coinbase_assets.dagster_instance.deployment import Deployment
from coinbase_assets.dagster_instance.run_tags import (
    PARTITION_RANGE_END_TAG,
    PARTITION_RANGE_START_TAG,
    PARTITION_TAG,
)
from coinbase_assets.lake.stock import stored_partitions
from coinbase_assets.monitoring.problems import newest_results
from coinbase_assets.plain_text import inert
from coinbase_assets.storage.concurrency import map_concurrently
from coinbase_assets.storage.io_manager import AzureParquetIOManager
from coinbase_assets.storage.stored_blob import StoredBlob

if TYPE_CHECKING:
    from coinbase_assets.storage.parquet_store import ParquetStore

_MOST_SHOWN = 10


@dataclass(frozen=True)
class StoredMonth:
    """A stored month of a series: of its history, its ledger or a rollup."""

    series: CandleSeries
    key: str
    table: pa.Table
    store: "ParquetStore"

    @cached_property
    def raw(self) -> Mapping[str, StoredBlob]:
        """The raw days of the month, by partition key."""
        return stored_partitions(self.store, RAW_CANDLES, self.series, within=self.key)


# Returns what contradicts a fact in a month, one line each.
Findings = Callable[[StoredMonth], Sequence[str]]


def _none(month: StoredMonth) -> Sequence[str]:
    return []


@dataclass(frozen=True)
class Check:
    """A fact about a stored month.

    A month fails it with severity ERROR if there are `errors`, and with WARN if there are only
    `warnings`. A `blocking` check with errors keeps Dagster from materialising what comes after.
    """

    name: str
    description: str
    errors: Findings = _none
    warnings: Findings = _none
    blocking: bool = True


def build_month_checks(
    series: CandleSeries, dataset: Dataset, checks: Sequence[Check], deployment: Deployment
) -> dg.AssetChecksDefinition:
    """Return `checks` as asset checks on the months of a dataset of a series."""
    key = deployment.key(dataset, series)

    @dg.multi_asset_check(
        name=f"{'__'.join(key.path)}__checks".replace("-", "_"),
        specs=[
            dg.AssetCheckSpec(
                check.name,
                asset=key,
                description=f"{check.description} If it fails, run `coinbase-assets heal`.",
                blocking=check.blocking,
            )
            for check in checks
        ],
        required_resource_keys={deployment.lake},
        can_subset=True,
    )
    def month_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        lake: AzureParquetIOManager = deployment.lake_of(context)
        names = {selected.name for selected in context.selected_asset_check_keys}
        chosen = [check for check in checks if check.name in names]
        failed = _months_that_failed(context)
        months = _stored_months(series, dataset, context.run.tags, failed, lake.store)
        yield from _run_checks(key, chosen, months)

    return month_checks


def _run_checks(
    key: dg.AssetKey, checks: Sequence[Check], months: Iterator[StoredMonth]
) -> Iterator[dg.AssetCheckResult]:
    """Yield the result of each check, after one pass over the months."""
    errors, warnings = (defaultdict[str, list[_Finding]](list) for _ in range(2))
    months_checked = 0
    for month in months:
        months_checked += 1
        for check in checks:
            errors[check.name] += [(month.key, line) for line in check.errors(month)]
            warnings[check.name] += [(month.key, line) for line in check.warnings(month)]
    for check in checks:
        yield _result(key, check.name, errors[check.name], warnings[check.name], months_checked)


# A month's key, and a line that says what is wrong in that month.
_Finding = tuple[str, str]


def _result(
    key: dg.AssetKey,
    name: str,
    errors: Sequence[_Finding],
    warnings: Sequence[_Finding],
    months_checked: int,
) -> dg.AssetCheckResult:
    findings = [*errors, *warnings]
    shown = [line for _, line in findings[:_MOST_SHOWN]]
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=name,
        passed=not findings,
        severity=dg.AssetCheckSeverity.ERROR if errors else dg.AssetCheckSeverity.WARN,
        description=inert("; ".join(shown)) or None,
        metadata={
            "months_checked": months_checked,
            "found": len(findings),
            **(_failures(findings) if findings else {}),
        },
    )


def _failures(findings: Sequence[_Finding]) -> Mapping[str, dg.MetadataValue]:
    """Return the months that failed, and a table of the first findings."""
    months = dict.fromkeys(month for month, _ in findings)
    first = [dg.TableRecord({"month": month, "found": line}) for month, line in findings]
    return {
        FAILED_MONTHS: dg.MetadataValue.text(", ".join(months)),
        "first_found": dg.MetadataValue.table(first[:_MOST_SHOWN]),
    }


def _months_that_failed(context: dg.AssetCheckExecutionContext) -> set[str]:
    """Return the months that failed any selected check the last time.

    They are checked again, since Dagster shows only the newest result of a check: it would pass
    as soon as a run materialises other months.
    """
    checks = list(context.selected_asset_check_keys)
    months = set[str]()
    for record in newest_results(context.instance, checks).values():
        event = record.event and record.event.dagster_event
        if event and event.asset_check_evaluation_data.metadata.get(FAILED_MONTHS):
            text = event.asset_check_evaluation_data.metadata[FAILED_MONTHS].value
            months.update(str(text).split(", "))
    return months


def _stored_months(
    series: CandleSeries,
    dataset: Dataset,
    tags: Mapping[str, str],
    failed: Collection[str],
    store: "ParquetStore",
) -> Iterator[StoredMonth]:
    """Yield the stored months of a run's partitions, and the `failed` ones.

    `tags` are the run's. A run without partitions has all months.
    """
    only = tags.get(PARTITION_TAG)
    first = tags.get(PARTITION_RANGE_START_TAG, only) or ""
    last = tags.get(PARTITION_RANGE_END_TAG, only) or "9999"
    stored = stored_partitions(store, dataset, series)
    months = [key for key in stored if month_of(first) <= key <= month_of(last) or key in failed]
    return map_concurrently(
        lambda key: StoredMonth(series, key, store.get(stored[key].path), store), months
    )
