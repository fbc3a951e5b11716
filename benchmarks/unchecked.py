"""The code location without its checks, which live runs leave out."""

import dagster as dg

from coinbase_assets.definitions import build_definitions
from coinbase_assets.process_tuning import without_garbage_collection
from coinbase_assets.settings import load_settings


@dg.definitions
def defs() -> dg.Definitions:
    with without_garbage_collection():
        whole = build_definitions(load_settings())
        return dg.Definitions(
            assets=whole.assets,
            resources=whole.resources,
            jobs=whole.jobs,
            schedules=whole.schedules,
            sensors=whole.sensors,
            executor=whole.executor,
        )
