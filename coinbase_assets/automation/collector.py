"""The main job: collect days, then build their months and rollups, with runs in this process."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import dagster as dg

from coinbase_assets.assets.partitions import MONTHS_PER_RUN, days_per_run
from coinbase_assets.automation.asset_runs import AssetRuns, Failure
from coinbase_assets.automation.plans import Outcome, Plan, grouped
from coinbase_assets.automation.rebuild_sensors import monthly_assets
from coinbase_assets.candles.calendar import adjoining, month_of
from coinbase_assets.candles.datasets import (
    CANDLE_CHART,
    CANDLE_COVERAGE,
    CANDLE_HISTORY,
    CANDLE_ROLLUP,
    MARKET_HALTS,
    RAW_CANDLES,
    Dataset,
)
from coinbase_assets.candles.days import is_final
from coinbase_assets.candles.series import CandleSeries, RollupGranularity, Series
from coinbase_assets.collection.listing_dates import Lifetimes
from coinbase_assets.dagster_instance.deployment import OWN, Deployment
from coinbase_assets.exchange.errors import ExchangeUnavailable, ProductRemoved
from coinbase_assets.lake.charts import is_chart_old
from coinbase_assets.lake.inventory import Inventory, inspect
from coinbase_assets.lake.mending import mend
from coinbase_assets.storage.concurrency import map_concurrently
from coinbase_assets.storage.stored_blob import StoredBlob

if TYPE_CHECKING:
    from coinbase_assets.storage.parquet_store import ParquetStore


class Collector:
    """Collects days by runs of `job` in this process, and builds what is made of them."""

    def __init__(
        self,
        job: dg.JobDefinition,
        instance: dg.DagsterInstance,
        store: "ParquetStore",
        deployment: Deployment = OWN,
    ) -> None:
        self._runs = AssetRuns(job, instance, deployment)
        self.store = store
        self._deployment = deployment
        self._key = deployment.key

    def plan(self, series: Series, days: Sequence[str], again: bool = False) -> Plan:
        """Plan to collect the days; without `again`, no final day that Dagster has recorded.

        Final days are settled, or have a hole that cannot be proven for now. Days that the lake has
        lost are planned, too.
        """
        recorded = self._runs.recorded(self._key(RAW_CANDLES, series))
        inventory = inspect(self.store, series)
        lost = self._lost_days(inventory, recorded)
        days = sorted({*days} | lost)
        blobs, now = inventory.days, datetime.now(UTC)
        done = {
            day
            for day, blob in blobs.items()
            if day in recorded and is_final(day, blob.fields, now)
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
        raw = self._runs.job.asset_layer.asset_graph.get(self._key(RAW_CANDLES, series))
        partitions = raw.partitions_def
        assert isinstance(partitions, dg.TimeWindowPartitionsDefinition)
        return partitions.start.date()

    def is_stale(self, series: Series) -> bool:
        """Whether something is to be mended, or to be built from the lake."""
        inventory = inspect(self.store, series, self.rollups(series))
        return bool(
            [*self._stale_months(inventory), *inventory.outdated, *inventory.lost_revisions]
            or any(self._stale_rollup_months(inventory, each) for each in inventory.rollups)
            or self._old_charts([series])
        )

    def collect_all(
        self, plans: Iterable[Plan], outage: Failure | None = None
    ) -> Iterator[Outcome]:
        """Collect the series, those with the same days together. After an outage, skip the rest."""
        for group in grouped(plans):
            if outage:
                yield from (self._outcome(plan, outage) for plan in group)
                continue
            for outcome in self._collect_group(group):
                if isinstance(outcome.error, ExchangeUnavailable):
                    outage = outcome.error
                yield outcome

    def collect(self, plan: Plan) -> Outcome:
        """Collect the days, rebuild what is not made of the days in the lake, and mend it."""
        (outcome,) = self._collect_group([plan])
        return outcome

    def _collect_group(self, plans: Sequence[Plan]) -> Sequence[Outcome]:
        """Collect plans of the same days: each of their runs collects those of all series."""
        failures = dict[dg.AssetKey, Failure]()
        raw = {plan.series: self._key(RAW_CANDLES, plan.series) for plan in plans}
        for days in plans[0].runs:
            if outage := _outage(failures.values()):
                failures = {**dict.fromkeys(raw.values(), outage), **failures}
                break
            wanted = [key for key in raw.values() if key not in failures]
            failures |= self._runs.run_apart(wanted, days, plans[0].tags)
        unbuilt = self.join_all([plan.series for plan in plans])
        return [
            self._outcome(plan, failures.get(raw[plan.series]) or unbuilt.get(plan.series))
            for plan in plans
        ]

    def _outcome(self, plan: Plan, error: Failure | None) -> Outcome:
        days = self._existing_days(plan) if isinstance(error, ProductRemoved) else plan.days
        return Outcome(plan, self._missing(plan.series, days), error)

    def join(self, series: Series) -> Failure | None:
        """Rebuild what is not made of the days in the lake, and mend it; return the first error."""
        return self.join_all([series]).get(series)

    def join_all(self, series: Sequence[Series]) -> Mapping[Series, Failure]:
        """Do so with several series, in the same runs; return the first error of each.

        A chart is drawn only if it was drawn before.
        """
        inventories = [inspect(self.store, each) for each in series]
        for inventory in inventories:
            mend(self.store, inventory)
        failures = [
            *self._run_each(self._month_runs(inventories)),
            *self._run_each(self._rollup_runs(series)),
            *self._run_each({(): self._old_charts(series)}),
        ]
        if not failures or len(series) == 1:
            return dict.fromkeys(series, failures[0]) if failures else {}
        return {each: error for each in series if (error := self.join(each))}

    def _run_each(self, runs: Mapping[Sequence[str], Sequence[dg.AssetKey]]) -> Sequence[Failure]:
        """Run the assets of each range of partitions; return the failures."""
        ended = (self._runs.run(assets, keys) for keys, assets in runs.items() if assets)
        return [failure for failure in ended if failure]

    def _old_charts(self, series: Iterable[Series]) -> Sequence[dg.AssetKey]:
        charts = {each: self._key(CANDLE_CHART, each) for each in series}
        return [key for each, key in charts.items() if self._is_old_chart(each, key)]

    def _is_old_chart(self, series: Series, key: dg.AssetKey) -> bool:
        if not self._runs.has(key):
            return False
        was_drawn = self._runs.instance.get_latest_materialization_event(key) is not None
        return is_chart_old(self.store, series, was_drawn)

    def _existing_days(self, plan: Plan) -> list[str]:
        """Return the days of the plan that are not after the end of the product's trade."""
        lifetimes = Lifetimes(self.store).get(plan.series.product)
        days = map(date.fromisoformat, plan.days)
        return [str(day) for day in days if not any(each.ended_before(day) for each in lifetimes)]

    def _monthly_assets(self, series: Sequence[Series]) -> Sequence[dg.AssetKey]:
        with_halts = self._runs.has(self._key(MARKET_HALTS))
        return monthly_assets(self._deployment, series, with_halts)

    def _month_runs(
        self, inventories: Iterable[Inventory]
    ) -> Mapping[Sequence[str], Sequence[dg.AssetKey]]:
        """Return ranges of months, each with the assets of the series that are to be built."""
        series = defaultdict[Sequence[str], list[Series]](list)
        for inventory in inventories:
            for months in self._stale_months(inventory):
                series[tuple(months)].append(inventory.series)
        return {months: self._monthly_assets(chosen) for months, chosen in series.items()}

    def _stale_months(self, inventory: Inventory) -> Iterator[Sequence[str]]:
        """Yield the months of each run: those that are not made of the days in the lake.

        Months that Dagster has not recorded are built, too. A month that holds a lost day is left
        as it is.
        """
        built = [self._runs.recorded(key) for key in self._monthly_assets([inventory.series])]
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
        graph = self._runs.job.asset_layer.asset_graph
        history = graph.get(self._key(CANDLE_HISTORY, series))
        possible = [CandleSeries(series.product, each) for each in RollupGranularity]
        return [each for each in possible if self._key(CANDLE_ROLLUP, each) in history.child_keys]

    def _rollup_runs(
        self, series: Iterable[Series]
    ) -> Mapping[Sequence[str], Sequence[dg.AssetKey]]:
        """Return ranges of months, each with the rollups that are made of another history."""
        runs = defaultdict[Sequence[str], list[dg.AssetKey]](list)
        for each in series:
            if not (rollups := self.rollups(each)):
                continue
            inventory = inspect(self.store, each, rollups)
            for rollup in rollups:
                stale = self._stale_rollup_months(inventory, rollup)
                for months in adjoining(stale, MONTHS_PER_RUN):
                    runs[tuple(months)].append(self._key(CANDLE_ROLLUP, rollup))
        return runs

    def _stale_rollup_months(self, inventory: Inventory, rollup: CandleSeries) -> Sequence[str]:
        """Return the months to build: made of another history, or not recorded by Dagster."""
        unrecorded = inventory.history.keys() - self._runs.recorded(
            self._key(CANDLE_ROLLUP, rollup)
        )
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
        names = [name for name, *_ in wanted]
        missing = map_concurrently(lambda each: self._missing_keys(*each[1:]), wanted)
        pairs = zip(names, missing, strict=True)
        return [f"{name} {key}" for name, keys in pairs for key in keys]

    def _missing_keys(
        self, series: CandleSeries, dataset: Dataset, keys: Sequence[str]
    ) -> list[str]:
        stored = self._blobs(series, dataset, keys)
        recorded = self._runs.recorded(self._key(dataset, series))
        return [key for key in keys if key not in stored or key not in recorded]

    def _blobs(
        self, series: CandleSeries, dataset: Dataset, keys: Sequence[str]
    ) -> dict[str, StoredBlob]:
        return self.store.find_partitions(dataset.path(series), keys)


def _months(days: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(map(month_of, days)))


def _outage(failures: Iterable[Failure]) -> Failure | None:
    """Return a failure that the other series and days would share."""
    return next((each for each in failures if isinstance(each, ExchangeUnavailable)), None)
