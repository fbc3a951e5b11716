"""`CoinbaseCandlesComponent`: the candle assets in anybody's Dagster project, as YAML."""

import logging
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Self

import dagster as dg
from dagster.components import DefsStateConfig, DefsStateConfigArgs, ResolvedDefsStateConfig
from dagster.components.core.context import ComponentDeclLoadContext
from dagster_shared.libraries import DagsterLibraryRegistry
from pydantic import BaseModel

from coinbase_assets.candles.series_patterns import parse_patterns
from coinbase_assets.components.candle_assets import NAME, candle_assets
from coinbase_assets.components.candle_options import Automation, CandleAsset
from coinbase_assets.components.catalogue import fetch_products
from coinbase_assets.components.component_fields import (
    AlertFields,
    ExchangeFields,
    FreshnessFields,
    RollupsField,
    SeriesField,
    StartField,
    StorageFields,
    TranslationField,
)
from coinbase_assets.components.scaffolder import CandlesScaffolder
from coinbase_assets.dagster_instance.private_names import DefsStateStorage
from coinbase_assets.environment.listed_products import read_products, write_products

log = logging.getLogger(__name__)

DagsterLibraryRegistry.register(
    "coinbase-assets", version("coinbase-assets"), is_dagster_package=False
)


def _local_state() -> DefsStateConfigArgs:
    """Keep the state in a file of the project, and refresh it only when asked to."""
    return DefsStateConfigArgs.local_filesystem().model_copy(update={"refresh_if_dev": False})


@dg.scaffold_with(CandlesScaffolder)
@dataclass(kw_only=True)
class CoinbaseCandlesComponent(dg.StateBackedComponent, dg.Resolvable):
    """Candles of the Coinbase Exchange as assets, in your own Azure Blob storage.

    Each series has an asset with its raw candles, a partition a day, and assets with its history
    and coverage, a partition a month. With wildcards, the exchange's products are the component's
    state: `dg utils refresh-defs-state` asks for them, loading definitions never does.
    """

    series: SeriesField
    start: StartField
    storage: Annotated[
        StorageFields,
        dg.Resolver.default(
            description="The storage account: its URL, with a key, a SAS or neither to sign in; or"
            " its connection string.",
            examples=[{"account_url": "https://NAME.blob.core.windows.net"}],
        ),
    ]
    rollups: RollupsField = ()
    exchange: Annotated[
        ExchangeFields,
        dg.Resolver.default(
            description="The exchange, and how many requests it gets.",
            examples=[{"requests_per_second": 5}],
        ),
    ] = field(default_factory=ExchangeFields)
    freshness: Annotated[
        FreshnessFields,
        dg.Resolver.default(
            description="When a series is late, and when stale. By default it follows from the"
            " granularity.",
            examples=[{"warn": "45m", "fail": "2h"}],
        ),
    ] = field(default_factory=FreshnessFields)
    alerts: Annotated[
        AlertFields | None,
        dg.Resolver.default(
            description="Where messages about trouble go. Without it, there are none.",
            examples=[{"urls": "{{ env.COINBASE_ALERT_URLS }}"}],
        ),
    ] = None
    checks: Annotated[
        bool, dg.Resolver.default(description="Whether assets have checks.", examples=[True])
    ] = True
    charts: Annotated[
        bool, dg.Resolver.default(description="Whether each series has a chart.", examples=[True])
    ] = True
    automation: Annotated[
        Automation,
        dg.Resolver.default(
            description="What materialises the assets: schedules and sensors, which are on from"
            " the start; `declarative`: the assets' automation conditions; or `none`.",
            examples=["schedules"],
        ),
    ] = Automation.SCHEDULES
    name: Annotated[
        str,
        dg.Resolver.default(
            description="Begins the names of resources, jobs, schedules and sensors, and names the"
            " state. By default the name of the folder.",
            examples=["candles"],
        ),
    ] = ""
    translation: TranslationField = None
    defs_state: ResolvedDefsStateConfig = field(default_factory=_local_state)

    @classmethod
    def resolve_from_model(cls, context: dg.ResolutionContext, model: BaseModel) -> Self:
        component: Self = super().resolve_from_model(context, model)
        if not component.name:
            folder = ComponentDeclLoadContext.from_resolution_context(context).path
            component.name = re.sub(r"\W+", "_", folder.stem)
        return component

    @property
    def defs_state_config(self) -> DefsStateConfig:
        default = f"{CoinbaseCandlesComponent.__name__}[{self.name}]"
        return DefsStateConfig.from_args(self.defs_state, default_key=default)

    @property
    def _has_wildcard(self) -> bool:
        return any(pattern.has_wildcard for pattern in parse_patterns(self.series))

    def get_asset_spec(self, spec: dg.AssetSpec, data: CandleAsset) -> dg.AssetSpec:
        """Return the attributes of an asset, from those it has by default. Override it freely."""
        return self.translation(spec, data) if self.translation else spec

    @property
    def _changes_specs(self) -> bool:
        is_overridden = type(self).get_asset_spec is not CoinbaseCandlesComponent.get_asset_spec
        return is_overridden or self.translation is not None

    def write_state_to_path(self, state_path: Path) -> None:
        """Ask for the products if there are wildcards, and write them beside those known before.

        Raises ExchangeError; what was known before stays then.
        """
        known = self._products_before(state_path)
        listed: Sequence[str] = ()
        if self._has_wildcard:
            with tempfile.TemporaryDirectory() as folder:
                listed = fetch_products(self.exchange.resource(), Path(folder))
        write_products(state_path, known, listed)

    def _products_before(self, state_path: Path) -> Sequence[str]:
        if state_path.exists():
            return read_products(state_path)
        key, storage = self.defs_state_config.key, DefsStateStorage.get()
        version = storage.get_latest_version(key) if storage else None
        # The versions of states that are not in the storage begin with two underscores.
        if not storage or not version or version.startswith("__"):
            return ()
        storage.download_state_to_path(key, version, state_path)
        return read_products(state_path)

    def build_defs_from_state(
        self, context: dg.ComponentLoadContext, state_path: Path | None
    ) -> dg.Definitions:
        """Return the definitions. Without a state, series with wildcards are left out."""
        series = self.series
        if self._has_wildcard and not state_path:
            log.warning(
                "%s: the products for its wildcards are not known yet;"
                " run dg utils refresh-defs-state",
                self.name,
            )
            series = [str(p) for p in parse_patterns(series) if not p.has_wildcard]
        if not series:
            return dg.Definitions()
        return candle_assets(
            series=series,
            rollups=self.rollups,
            start=self.start,
            products=read_products(state_path) if state_path else (),
            storage=self.storage.resource(),
            container=self.storage.container,
            exchange=self.exchange.resource(),
            freshness_warn=self.freshness.warn,
            freshness_fail=self.freshness.fail,
            alerts=self.alerts.options(self.start) if self.alerts else None,
            checks=self.checks,
            charts=self.charts,
            automation=self.automation,
            translation=self.get_asset_spec if self._changes_specs else None,
            name=self.name or NAME,
        )
