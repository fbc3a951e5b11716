"""The resources of a deployment, closed to run configuration."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from coinbase_assets.assets.candle_lake import CandleLake
from coinbase_assets.components.candle_options import CandleOptions
from coinbase_assets.dagster_instance.deployment import Deployment


def build_resources(
    options: CandleOptions, deployment: Deployment
) -> Mapping[str, dg.ResourceDefinition]:
    """Return the exchange and the lake, by their keys."""
    lake = CandleLake(storage=options.storage, container=options.container)
    return {
        deployment.exchange: without_run_config(options.exchange),
        deployment.lake: without_run_config(lake),
    }


def without_run_config(
    resource: dg.ConfigurableResource | dg.ConfigurableIOManager,
) -> dg.ResourceDefinition:
    """Return a definition of the resource that takes no run config.

    Else whoever starts a run could replace the exchange, the account and the paths, or send a
    secret to any host with `{env: NAME}`.
    """

    def opened(context: dg.InitResourceContext) -> Iterator[object]:
        # Without the instance, Dagster makes an ephemeral instance first, which takes 0.1 s.
        with dg.build_resources({"ready": resource}, instance=context.instance) as resources:
            yield resources.ready

    is_io_manager = isinstance(resource, dg.ConfigurableIOManager)
    definition: Any = dg.IOManagerDefinition if is_io_manager else dg.ResourceDefinition
    return definition(opened, config_schema={}, description=type(resource).__doc__)
