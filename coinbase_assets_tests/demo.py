"""`make demo`: `coinbase-assets dev` on a stand-in exchange, with a lake and an instance apart."""

import os
import sys

from coinbase_assets.cli.main import main
from coinbase_assets.settings import Settings
from coinbase_assets_tests.processes import PROJECT
from coinbase_assets_tests.stand_in.exchange import StandInExchange

HOME = PROJECT / ".demo"


def demo_environment(exchange: StandInExchange) -> dict[str, str]:
    """Settings for the stand-in; the others are set and empty, so that no `.env` sets them."""
    return {
        **{str(field.alias): "" for field in Settings.model_fields.values()},
        "COINBASE_API_URL": exchange.url,
        "COINBASE_SERIES": "BTC-USD:1m,ETH-EUR:15m",
        "COINBASE_CONTAINER": "demo",
        "DAGSTER_HOME": str(HOME),
    }


if __name__ == "__main__":
    HOME.mkdir(exist_ok=True)
    # Dagster prefers the `.env` of the folder it is started in.
    os.chdir(HOME)
    with StandInExchange(latency=0.1) as exchange:
        os.environ |= demo_environment(exchange)
        main(["dev", *sys.argv[1:]])
