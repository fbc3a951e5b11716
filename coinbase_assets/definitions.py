"""The code location of this project: the deployment that the settings describe."""

import warnings

import dagster as dg

from coinbase_assets.automation.housekeeping import orphaned_runs_sensor, superseded_runs_sensor
from coinbase_assets.components.builder import build_candle_assets
from coinbase_assets.components.own_deployment import options_of
from coinbase_assets.dagster_instance.deployment import OWN
from coinbase_assets.dagster_instance.executor import LockedInProcessExecutor
from coinbase_assets.exchange.outages import OUTAGE_ERRORS
from coinbase_assets.process_tuning import without_garbage_collection
from coinbase_assets.settings import Settings, load_settings


def build_definitions(
    settings: Settings, *, storage: dg.ConfigurableResource | None = None
) -> dg.Definitions:
    """Return the definitions for these settings. `storage` replaces the storage they name."""
    # A run for series of several granularities is wanted; only back-fills follow the policies.
    warnings.filterwarnings("ignore", "(?s)Asset job .* varying BackfillPolicies")
    candles = build_candle_assets(options_of(settings, storage))
    return dg.Definitions.merge(candles, _of_whole_instance(candles))


def _of_whole_instance(candles: dg.Definitions) -> dg.Definitions:
    """Return what only a code location of its own may have: it looks after all runs."""
    assert candles.resources
    return dg.Definitions(
        # Else every job would offer Dagster's default, which writes pickle files.
        resources={"io_manager": candles.resources[OWN.lake]},
        sensors=[orphaned_runs_sensor, superseded_runs_sensor],
        executor=LockedInProcessExecutor(said_elsewhere=OUTAGE_ERRORS),
    )


@dg.definitions
def defs() -> dg.Definitions:
    """Return the definitions of the code location. Dagster calls this."""
    with without_garbage_collection():
        return build_definitions(load_settings())
