"""Two asset checks on raw candles: how far a series is behind the exchange."""

from collections.abc import Iterator

import dagster as dg

from coinbase_assets.candles.datasets import RAW_CANDLES
from coinbase_assets.candles.series import Series
from coinbase_assets.dagster_instance.deployment import OWN, Deployment
from coinbase_assets.monitoring.freshness import FreshnessWindows
from coinbase_assets.monitoring.recency import DESCRIPTIONS, judge_series
from coinbase_assets.storage.io_manager import AzureParquetIOManager


def build_recency_checks(
    series: Series, windows: FreshnessWindows, deployment: Deployment = OWN
) -> dg.AssetChecksDefinition:
    """Return the recency checks on the raw candles of a series."""
    key = deployment.key(RAW_CANDLES, series)

    @dg.multi_asset_check(
        name=f"{'__'.join(key.path)}__recency".replace("-", "_"),
        specs=[
            dg.AssetCheckSpec(name, asset=key, description=text)
            for name, text in DESCRIPTIONS.items()
        ],
        required_resource_keys={deployment.lake},
        can_subset=True,
    )
    def recency_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        lake: AzureParquetIOManager = deployment.lake_of(context)
        wanted = {check.name for check in context.selected_asset_check_keys}
        for name, verdict in judge_series(lake.store, series, windows).items():
            if name in wanted:
                yield dg.AssetCheckResult(
                    asset_key=key,
                    check_name=name,
                    passed=verdict.severity is None,
                    severity=verdict.severity or dg.AssetCheckSeverity.WARN,
                    description=verdict.found,
                    metadata=verdict.metadata,
                )

    return recency_checks
