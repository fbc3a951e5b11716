"""Run the project's assets in a test, as Dagster runs them."""

from collections.abc import Mapping
from types import MappingProxyType

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
)

from coinbase_assets.candles.datasets import CANDLE_HISTORY, RAW_CANDLES, Dataset
from coinbase_assets.candles.series import Series
from coinbase_assets.dagster_instance.deployment import SILENT
from coinbase_assets.dagster_instance.failures import causes_raised
from coinbase_assets.dagster_instance.run_tags import LIVE
from coinbase_assets.definitions import build_definitions
from coinbase_assets.settings import Settings, load_settings


def settings_for(url: str, *series: str) -> Settings:
    """Return the environment's settings, with the exchange at `url` and no limit on requests."""
    changes = {
        "api_url": url,
        "requests_per_second": 1000.0,
        "give_up_after": 10.0,
        "series": tuple(map(Series.parse, series)) or (Series.parse("BTC-USD:1m"),),
    }
    return load_settings().model_copy(update=changes)


def asset_job(settings: Settings) -> dg.JobDefinition:
    return build_definitions(settings).resolve_implicit_global_asset_job_def()


def materialize(
    settings: Settings,
    instance: dg.DagsterInstance,
    dataset: Dataset,
    first: str,
    last: str | None = None,
    raise_on_error: bool = True,
    tags: Mapping[str, str] = MappingProxyType({}),
    checks: bool = False,
) -> dg.ExecuteInProcessResult:
    """Materialise partitions of a dataset of the first series in one run.

    A failure is raised as its cause.
    """
    job, keys = asset_job(settings), [dg.AssetKey(dataset.asset_key(settings.series[0]))]
    if not checks:
        job = job.get_subset(asset_selection=frozenset(keys), asset_check_selection=frozenset())
    with causes_raised():
        return job.execute_in_process(
            instance=instance,
            asset_selection=keys if checks else None,
            tags={
                ASSET_PARTITION_RANGE_START_TAG: first,
                ASSET_PARTITION_RANGE_END_TAG: last or first,
                **tags,
            },
            run_config=SILENT,
            raise_on_error=raise_on_error,
        )


def collect_raw(
    settings: Settings,
    instance: dg.DagsterInstance,
    first: str,
    last: str | None = None,
    checks: bool = False,
) -> dg.ExecuteInProcessResult:
    return materialize(settings, instance, RAW_CANDLES, first, last, checks=checks)


def retry_raw(settings: Settings, instance: dg.DagsterInstance) -> None:
    """Execute the newest run of raw days again, as Dagster's daemon and the web UI do."""
    (newest,) = instance.get_runs(limit=1)
    keys = frozenset([dg.AssetKey(RAW_CANDLES.asset_key(settings.series[0]))])
    job = asset_job(settings).get_subset(asset_selection=keys, asset_check_selection=frozenset())
    run = instance.create_run_for_job(
        job,
        tags=newest.tags,
        run_config=SILENT,
        asset_selection=keys,
        parent_run_id=newest.run_id,
        root_run_id=newest.root_run_id or newest.run_id,
    )
    execute_run(InMemoryJob(job), run, instance, raise_on_error=True)


def refresh_raw(
    settings: Settings, instance: dg.DagsterInstance, first: str, last: str | None = None
) -> dg.ExecuteInProcessResult:
    """Refresh raw days as the runs of the live schedule do."""
    live = {LIVE: "true"}
    return materialize(settings, instance, RAW_CANDLES, first, last, tags=live)


def build_history(
    settings: Settings, instance: dg.DagsterInstance, first: str, last: str | None = None
) -> dg.ExecuteInProcessResult:
    return materialize(settings, instance, CANDLE_HISTORY, first, last)


def land(instance: dg.DagsterInstance, series: Series, *days: str) -> None:
    """Record raw days as collected, without storing them."""
    key = dg.AssetKey(RAW_CANDLES.asset_key(series))
    for day in days:
        instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=day))


def partition_metadata(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, object]]:
    """Return the metadata that the run recorded, by partition."""
    materializations = [
        event.step_materialization_data.materialization
        for event in result.get_asset_materialization_events()
    ]
    return {
        str(materialization.partition): {
            name: value.value for name, value in materialization.metadata.items()
        }
        for materialization in materializations
    }
