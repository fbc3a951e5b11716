"""Runs of assets in this process, recorded in the Dagster instance like any other run."""

import gc
import uuid
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import dagster as dg

from coinbase_assets.candles.table import InvalidCandles
from coinbase_assets.dagster_instance.deployment import Deployment
from coinbase_assets.dagster_instance.failures import causes_raised
from coinbase_assets.dagster_instance.heartbeats import beating
from coinbase_assets.dagster_instance.orphaned_runs import run_lock
from coinbase_assets.dagster_instance.run_tags import range_tags
from coinbase_assets.exchange.errors import ExchangeError, ExchangeUnavailable
from coinbase_assets.storage.errors import StorageError

Failure = ExchangeError | StorageError | InvalidCandles


class AssetRuns:
    """Runs assets of `job`. Dagster records the runs in `instance`."""

    def __init__(
        self, job: dg.JobDefinition, instance: dg.DagsterInstance, deployment: Deployment
    ) -> None:
        self.job = job
        self.instance = instance
        self.deployment = deployment

    def has(self, asset: dg.AssetKey) -> bool:
        return asset in self.job.asset_layer.executable_asset_keys

    def recorded(self, asset: dg.AssetKey) -> Mapping[str, int]:
        """Return the partitions that Dagster has recorded, with the storage ids of the records."""
        return self.instance.get_latest_storage_id_by_partition(
            asset, dg.DagsterEventType.ASSET_MATERIALIZATION
        )

    def run(self, assets: Sequence[dg.AssetKey], keys: Sequence[str]) -> Failure | None:
        """Materialise partitions of the assets in one run, from the first key to the last.

        Without keys, the assets have no partitions. Returns the failure that ended the run.
        """
        return self._run(str(uuid.uuid4()), assets, keys, {})

    def run_apart(
        self, assets: Sequence[dg.AssetKey], keys: Sequence[str], tags: Mapping[str, str]
    ) -> Mapping[dg.AssetKey, Failure]:
        """Do the same with assets that do not depend on each other, and return their failures.

        A failed asset does not keep the others from being materialised; those that are left are,
        in another run. But nothing more is tried while the exchange does not answer.
        """
        failures, left = dict[dg.AssetKey, Failure](), list(assets)
        while left:
            run_id = str(uuid.uuid4())
            if not (failure := self._run(run_id, left, keys, tags)):
                break
            done, failed = self._ended(run_id, left)
            left = [asset for asset in left if asset not in done]
            if not failed or isinstance(failure, ExchangeUnavailable):
                return {**failures, **dict.fromkeys(left, failure)}
            failures |= dict.fromkeys(failed, failure)
            left = [asset for asset in left if asset not in failed]
        return failures

    def _ended(
        self, run_id: str, assets: Sequence[dg.AssetKey]
    ) -> tuple[Collection[dg.AssetKey], Collection[dg.AssetKey]]:
        """Return the assets whose steps have succeeded, and those whose steps have failed."""
        by_step = {self._step(asset): asset for asset in assets}
        ended = {dg.DagsterEventType.STEP_SUCCESS, dg.DagsterEventType.STEP_FAILURE}
        events = [
            entry.dagster_event
            for entry in self.instance.all_logs(run_id, of_type=ended)
            if entry.dagster_event and entry.dagster_event.step_key in by_step
        ]
        done = {by_step[str(event.step_key)] for event in events if event.is_step_success}
        failed = {by_step[str(event.step_key)] for event in events if event.is_step_failure}
        return done, failed

    def _step(self, asset: dg.AssetKey) -> str:
        return self.job.asset_layer.asset_graph.get(asset).assets_def.op.name

    def _run(
        self,
        run_id: str,
        assets: Sequence[dg.AssetKey],
        keys: Sequence[str],
        tags: Mapping[str, str],
    ) -> Failure | None:
        partitions = range_tags(keys[0], keys[-1]) if keys else {}
        home = Path(self.instance.root_directory)
        try:
            with causes_raised(), run_lock(home, run_id), beating(self.instance, run_id):
                self.job.execute_in_process(
                    instance=self.instance,
                    run_id=run_id,
                    asset_selection=assets,
                    tags={**partitions, **tags},
                    run_config=self.deployment.run_config,
                )
        except (ExchangeError, StorageError, InvalidCandles) as failure:
            return failure
        finally:
            # The objects of a run form cycles. Free them now, or those of many runs pile up.
            gc.collect()
        return None
