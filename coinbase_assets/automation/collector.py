"""The main job: collect days, then build their months and rollups, with runs in this process."""

import gc
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import dagster as dg

from coinbase_assets.assets.partitions import MONTHS_PER_RUN, days_per_run
from coinbase_assets.automation.rebuild_sensors import monthly_assets
from coinbase_assets.candles.calendar import DAY, adjoining, day_start, month_of
from coinbase_assets.candles.datasets import (
    CANDLE_CHART,
    CANDLE_COVERAGE,
    CANDLE_HISTORY,
    CANDLE_ROLLUP,
    MARKET_HALTS,
    RAW_CANDLES,
    Dataset,
)
from coinbase_assets.candles.days import SETTLED_AFTER, is_settled
from coinbase_assets.candles.evidence import Evidence, waits
from coinbase_assets.candles.series import CandleSeries, Granularity, RollupGranularity, Series
from coinbase_assets.candles.table import InvalidCandles
from coinbase_assets.candles.windows import request_windows
from coinbase_assets.collection.listing_dates import Lifetimes
from coinbase_assets.dagster_instance.deployment import OWN, Deployment
from coinbase_assets.dagster_instance.failures import causes_raised
from coinbase_assets.dagster_instance.orphaned_runs import run_lock
from coinbase_assets.dagster_instance.run_tags import range_tags
from coinbase_assets.exchange.errors import ExchangeError, ExchangeUnavailable, ProductRemoved
from coinbase_assets.lake.charts import is_chart_old
from coinbase_assets.lake.inventory import Inventory, inspect
from coinbase_assets.lake.mending import mend
from coinbase_assets.storage.errors import StorageError
from coinbase_assets.storage.stored_blob import StoredBlob

if TYPE_CHECKING:
    from coinbase_assets.storage.parquet_store import ParquetStore

Failure = ExchangeError | StorageError | InvalidCandles


@dataclass(frozen=True)
class Plan:
    """The wanted days of a series (partition keys, ascending), and the days each run collects.

    `tags` are those of the runs that collect days.
    """

    series: Series
    days: Sequence[str]
    runs: Sequence[Sequence[str]]
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def requests(self) -> int:
        """The number of requests: for candles, and for the daily candles to compare them with.

        If the two differ for a day, collecting it takes more requests.
        """
        spans = [(day_start(days[0]), day_start(days[-1]) + DAY) for days in self.runs]
        candles = [request_windows(*span, self.series.granularity) for span in spans]
        daily = [request_windows(start - DAY, end, Granularity.ONE_DAY) for start, end in spans]
        return sum(len(list(windows)) for windows in [*candles, *daily])


@dataclass(frozen=True)
class Outcome:
    """The partitions that are missing after a plan was carried out, and the first error if any.

    Days after the removal of a product from the exchange are not missing.
    """

    plan: Plan
    missing: Sequence[str]
    error: Failure | None

    @property
    def failed(self) -> bool:
        """Whether anything that the exchange has could not be collected."""
        return bool(self.missing or (self.error and not isinstance(self.error, ProductRemoved)))


class Collector:
    """Runs assets of `job` in this process. Dagster records the runs in `instance`."""

    def __init__(
        self,
        job: dg.JobDefinition,
        instance: dg.DagsterInstance,
        store: "ParquetStore",
        deployment: Deployment = OWN,
    ) -> None:
        self._job = job
        self._instance = instance
        self.store = store
        self._deployment = deployment
        self._key = deployment.key

    def plan(self, series: Series, days: Sequence[str], again: bool = False) -> Plan:
        """Plan to collect the days; without `again`, no final day that Dagster has recorded.

        Final days are settled, or have a hole that cannot be proven for now. Days that the lake has
        lost are planned, too.
        """
        recorded = self._recorded(self._key(RAW_CANDLES, series))
        inventory = inspect(self.store, series)
        lost = self._lost_days(inventory, recorded)
        days = sorted({*days} | lost)
        blobs, now = inventory.days, datetime.now(UTC)
        done = {
            day
            for day, blob in blobs.items()
            if day in recorded and (is_settled(blob.fields) or _waits(day, blob, now))
        }
        due = [day for day in days if again or day in lost or day not in done]
        return Plan(series, days, list(adjoining(due, days_per_run(series.granularity))))

    def _lost_days(self, inventory: Inventory, recorded: Collection[str]) -> set[str]:
        """Return the days that have a partition, were stored once, and are gone.

        Those before the first stored day were perhaps stored in another container.
        """
        first = min(inventory.days, default="9999")
        lost = {day for day in recorded if day > first} - inventory.days.keys()
        if inventory.lacks_listing and inventory.days:
            lost |= {first, max(inventory.days)}
        lost |= {*inventory.lost_days}
        return {day for day in lost if day >= str(self._start(inventory.series))}

    def _start(self, series: Series) -> date:
        raw = self._job.asset_layer.asset_graph.get(self._key(RAW_CANDLES, series))
        partitions = raw.partitions_def
        assert isinstance(partitions, dg.TimeWindowPartitionsDefinition)
        return partitions.start.date()

    def is_stale(self, series: Series) -> bool:
        """Whether something is to be mended, or to be built from the lake."""
        inventory = inspect(self.store, series, self.rollups(series))
        return bool(
            [*self._stale_months(inventory), *inventory.outdated, *inventory.lost_revisions]
            or any(self._stale_rollup_months(inventory, each) for each in inventory.rollups)
            or self._has_old_chart(series)
        )

    def collect_all(
        self, plans: Iterable[Plan], outage: Failure | None = None
    ) -> Iterator[Outcome]:
        """Collect one series after the other. After an outage of the exchange, skip the rest."""
        for plan in plans:
            if outage:
                yield Outcome(plan, self._missing(plan.series, plan.days), outage)
                continue
            outcome = self.collect(plan)
            outage = outcome.error if isinstance(outcome.error, ExchangeUnavailable) else None
            yield outcome

    def collect(self, plan: Plan) -> Outcome:
        """Collect the days, rebuild what is not made of the days in the lake, and mend it."""
        failed = self._run_all([self._key(RAW_CANDLES, plan.series)], plan.runs, plan.tags)
        unbuilt = self.join(plan.series)
        error = failed or unbuilt
        days = self._existing_days(plan) if isinstance(error, ProductRemoved) else plan.days
        return Outcome(plan, self._missing(plan.series, days), error)

    def join(self, series: Series) -> Failure | None:
        """Rebuild what is not made of the days in the lake, and mend it; return the first error.

        A chart is drawn only if it was drawn before.
        """
        inventory = inspect(self.store, series)
        mend(self.store, inventory)
        errors = [self._run_all(self._monthly_assets(series), self._stale_months(inventory))]
        of_rollups = self._rollup_runs(series)
        errors += [self._run_all(assets, [months]) for months, assets in of_rollups.items()]
        if self._has_old_chart(series):
            errors.append(self._run_all([self._key(CANDLE_CHART, series)], [()]))
        return next((error for error in errors if error), None)

    def _has_old_chart(self, series: Series) -> bool:
        key = self._key(CANDLE_CHART, series)
        if key not in self._job.asset_layer.executable_asset_keys:
            return False
        was_drawn = self._instance.get_latest_materialization_event(key) is not None
        return is_chart_old(self.store, series, was_drawn)

    def _existing_days(self, plan: Plan) -> list[str]:
        """Return the days of the plan that are not after the end of the product's trade."""
        lifetimes = Lifetimes(self.store).get(plan.series.product)
        days = map(date.fromisoformat, plan.days)
        return [str(day) for day in days if not any(each.ended_before(day) for each in lifetimes)]

    def _run_all(
        self,
        assets: Sequence[dg.AssetKey],
        runs: Iterable[Sequence[str]],
        tags: Mapping[str, str] = MappingProxyType({}),
    ) -> Failure | None:
        try:
            for keys in runs:
                partitions = range_tags(keys[0], keys[-1]) if keys else {}
                self._run(assets, {**partitions, **tags})
        except (ExchangeError, StorageError, InvalidCandles) as failure:
            return failure
        return None

    def _run(self, assets: Sequence[dg.AssetKey], tags: Mapping[str, str]) -> None:
        run_id = str(uuid.uuid4())
        with causes_raised(), run_lock(Path(self._instance.root_directory), run_id):
            self._job.execute_in_process(
                instance=self._instance,
                run_id=run_id,
                asset_selection=assets,
                tags=tags,
                run_config=self._deployment.run_config,
            )
        # The objects of a run form cycles. Free them now, or those of many runs pile up.
        gc.collect()

    def _monthly_assets(self, series: Series) -> Sequence[dg.AssetKey]:
        with_halts = self._key(MARKET_HALTS) in self._job.asset_layer.executable_asset_keys
        return monthly_assets(self._deployment, [series], with_halts)

    def _stale_months(self, inventory: Inventory) -> Iterator[Sequence[str]]:
        """Yield the months of each run: those that are not made of the days in the lake.

        Months that Dagster has not recorded are built, too. A month that holds a lost day is left
        as it is.
        """
        built = [self._recorded(key) for key in self._monthly_assets(inventory.series)]
        months = {*map(month_of, inventory.days)}
        unrecorded = {month for month in months if any(month not in each for each in built)}
        kept = {*map(month_of, inventory.lost_days)}
        stale = ({*inventory.stale_months} | unrecorded) - kept
        return adjoining(self._with_partition(inventory.series, stale), MONTHS_PER_RUN)

    def _with_partition(self, series: Series, months: Collection[str]) -> Sequence[str]:
        """Return the months that have a partition, ascending."""
        first = f"{self._start(series):%Y-%m}"
        return sorted(month for month in months if month >= first)

    def rollups(self, series: Series) -> list[CandleSeries]:
        """Return the rollups of this series that the job has."""
        history = self._job.asset_layer.asset_graph.get(self._key(CANDLE_HISTORY, series))
        possible = [CandleSeries(series.product, each) for each in RollupGranularity]
        return [each for each in possible if self._key(CANDLE_ROLLUP, each) in history.child_keys]

    def _rollup_runs(self, series: Series) -> Mapping[Sequence[str], Sequence[dg.AssetKey]]:
        """Return ranges of months, each with the rollups that are made of another history."""
        if not (rollups := self.rollups(series)):
            return {}
        inventory = inspect(self.store, series, rollups)
        runs = defaultdict[Sequence[str], list[dg.AssetKey]](list)
        for rollup in rollups:
            for months in adjoining(self._stale_rollup_months(inventory, rollup), MONTHS_PER_RUN):
                runs[tuple(months)].append(self._key(CANDLE_ROLLUP, rollup))
        return runs

    def _stale_rollup_months(self, inventory: Inventory, rollup: CandleSeries) -> Sequence[str]:
        """Return the months to build: made of another history, or not recorded by Dagster."""
        unrecorded = inventory.history.keys() - self._recorded(self._key(CANDLE_ROLLUP, rollup))
        stale = {*inventory.stale_rollup_months(rollup)} | unrecorded
        return self._with_partition(inventory.series, stale)

    def _missing(self, series: Series, days: Sequence[str]) -> list[str]:
        """Return the partitions for these days that are not both stored and recorded."""
        months = _months(days)
        wanted: list[tuple[str, CandleSeries, Dataset, Sequence[str]]] = [
            (RAW_CANDLES.name, series, RAW_CANDLES, days),
            (CANDLE_HISTORY.name, series, CANDLE_HISTORY, months),
            (CANDLE_COVERAGE.name, series, CANDLE_COVERAGE, months),
            *(
                (f"{CANDLE_ROLLUP.name} {rollup.granularity}", rollup, CANDLE_ROLLUP, months)
                for rollup in self.rollups(series)
            ),
        ]
        return [
            f"{name} {key}"
            for name, candles, dataset, keys in wanted
            for key in self._missing_keys(candles, dataset, keys)
        ]

    def _missing_keys(
        self, series: CandleSeries, dataset: Dataset, keys: Sequence[str]
    ) -> list[str]:
        stored = self._blobs(series, dataset, keys)
        recorded = self._recorded(self._key(dataset, series))
        return [key for key in keys if key not in stored or key not in recorded]

    def _blobs(
        self, series: CandleSeries, dataset: Dataset, keys: Sequence[str]
    ) -> dict[str, StoredBlob]:
        return self.store.find_partitions(dataset.path(series), keys)

    def _recorded(self, key: dg.AssetKey) -> Mapping[str, int]:
        """Return the partitions that Dagster has recorded, with the storage ids of the records."""
        return self._instance.get_latest_storage_id_by_partition(
            key, dg.DagsterEventType.ASSET_MATERIALIZATION
        )


def _waits(day: str, blob: StoredBlob, now: datetime) -> bool:
    """Whether the stored day has an unproven hole that is not due again, and is old enough."""
    evidence = Evidence.from_fields(blob.fields)
    if not evidence or evidence.compared_at < day_start(day) + DAY + SETTLED_AFTER:
        return False
    return waits(blob.fields, now)


def _months(days: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(map(month_of, days)))
