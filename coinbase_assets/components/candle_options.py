"""The options of a deployment: which candles, where they are kept, what looks after them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

import dagster as dg

from coinbase_assets.candles.datasets import Dataset
from coinbase_assets.candles.series import CandleSeries, Rollup, Series
from coinbase_assets.monitoring.destinations import Destination


class Automation(StrEnum):
    """What materialises the assets: schedules and sensors, their own conditions, or nothing."""

    SCHEDULES = "schedules"
    DECLARATIVE = "declarative"
    NONE = "none"


# The product and granularity of an asset that has no series.
ALL = "all"


@dataclass(frozen=True)
class CandleAsset:
    """What an asset holds: a dataset of a series, or of all products together."""

    dataset: Dataset
    series: CandleSeries | None

    @property
    def name(self) -> str:
        return self.dataset.name

    @property
    def product(self) -> str:
        return self.series.product if self.series else ALL

    @property
    def granularity(self) -> str:
        return self.series.granularity.value if self.series else ALL


# Returns the attributes that an asset has in Dagster; it is given those it would have otherwise.
Translation = Callable[[dg.AssetSpec, CandleAsset], dg.AssetSpec]


@dataclass(frozen=True)
class AlertOptions:
    """Where messages go. `start` is the day from which on all days must be collected, if any."""

    destinations: Sequence[Destination] = ()
    heartbeat_url: str | None = None
    web_url: str | None = None
    start: date | None = None


@dataclass(frozen=True, kw_only=True)
class CandleOptions:
    """The options of a deployment. `other_series` have assets, but nothing refreshes them.

    `name` begins the names of resources, jobs, schedules and sensors; without a name, they are the
    only ones in their code location, and runs print no events. Then `is_shard` says that others
    collect other products into the lake.
    """

    series: Sequence[Series]
    start: date
    storage: dg.ConfigurableResource
    exchange: dg.ConfigurableResource
    container: str
    rollups: Sequence[Rollup] = ()
    other_series: Sequence[Series] = ()
    freshness_warn: timedelta | None = None
    freshness_fail: timedelta | None = None
    owners: Sequence[str] = ()
    checks: bool = True
    charts: bool = True
    alerts: AlertOptions | None = None
    automation: Automation = Automation.SCHEDULES
    translation: Translation | None = None
    name: str = ""
    is_shard: bool = False
