"""What the candle assets of one lake are called in Dagster, beside whatever else is there."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import dagster as dg

from coinbase_assets.candles.datasets import Dataset
from coinbase_assets.candles.series import CandleSeries, Series
from coinbase_assets.completeness.halts import can_tell_halts
from coinbase_assets.dagster_instance.run_tags import LIVE

# The configuration of a run that prints neither its events nor the traces of its failures.
SILENT: Mapping[str, Any] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class Deployment:
    """The names in Dagster of the assets of one lake, and of what collects and watches them.

    A code location may have several deployments. `prefix` begins the names of resources, jobs,
    schedules and sensors. `keys` has the assets' keys where they differ from those of the datasets,
    by the datasets' keys. `run_config` is the configuration of all runs. `is_shard` says that other
    deployments collect other products into the same lake.
    """

    prefix: str = ""
    keys: Mapping[dg.AssetKey, dg.AssetKey] = field(default_factory=dict)
    run_config: Mapping[str, Any] = field(default_factory=dict)
    is_shard: bool = False

    def name(self, text: str) -> str:
        """Return the name of a job, a schedule or a sensor."""
        return f"{self.prefix}{text}"

    @property
    def live_tag(self) -> Mapping[str, str]:
        """The tag of the deployment's live runs."""
        return {LIVE: self.name("true")}

    @property
    def lake(self) -> str:
        """The key of the IO manager."""
        return self.name("lake")

    @property
    def exchange(self) -> str:
        """The key of the exchange's resource."""
        return self.name("exchange")

    def lake_of(self, context: Any) -> Any:
        """Return the AzureParquetIOManager of a run, a check or a tick."""
        return getattr(context.resources, self.lake)

    def exchange_of(self, context: Any) -> Any:
        """Return the ExchangeResource of a run."""
        return getattr(context.resources, self.exchange)

    def key(self, dataset: Dataset, series: CandleSeries | None = None) -> dg.AssetKey:
        """Return the key of the dataset's asset, or of the series' asset in it."""
        key = dg.AssetKey(dataset.asset_key(series))
        return self.keys.get(key, key)

    def series_keys(
        self, dataset: Dataset, series: Iterable[CandleSeries]
    ) -> Sequence[dg.AssetKey]:
        return [self.key(dataset, each) for each in series]

    def can_tell_halts(self, series: Collection[Series]) -> bool:
        """Return whether the deployment can tell halts of the exchange. A shard lacks products."""
        return not self.is_shard and can_tell_halts(series)

    def dataset_key(self, key: dg.AssetKey) -> dg.AssetKey:
        """Return the key as the datasets have it. The key of any other asset stays as it is."""
        return self._dataset_keys.get(key, key)

    def owns(self, key: dg.AssetKey) -> bool:
        """Return whether the asset may be of this deployment. Without `keys`, any may."""
        return not self.keys or key in self._dataset_keys

    @cached_property
    def _dataset_keys(self) -> Mapping[dg.AssetKey, dg.AssetKey]:
        return {key: plain for plain, key in self.keys.items()}


# The deployment that has a code location of its own, as `coinbase-assets` uses it.
OWN = Deployment(run_config=SILENT)
