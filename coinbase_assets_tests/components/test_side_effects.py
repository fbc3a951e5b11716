"""What the package changes in a process of somebody else by being imported: nothing."""

import subprocess
import sys

_SCRIPT = """
import asyncio, gc, logging, os, signal, socket, sys, threading, warnings
import dagster, dagster.components.testing, pandas, pyarrow, httpx, anyio, pydantic_settings

def state():
    return {
        "environment": dict(os.environ),
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "handlers": [logging.root.handlers, logging.getLogger("dagster").handlers],
        "level": logging.root.level,
        "logger class": logging.getLoggerClass(),
        "record factory": logging.getLogRecordFactory(),
        "filters": [str(each) for each in warnings.filters],
        "hooks": [sys.excepthook, threading.excepthook],
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
        "collector": [gc.isenabled(), gc.get_threshold()],
        "resolver": socket.getaddrinfo,
        "loops": asyncio.get_event_loop_policy.__module__,
    }

before = state()
import coinbase_assets
definitions = coinbase_assets.candle_assets(
    series=["ETH-EUR:15m", "BTC-USD:1m"],
    rollups=["4h"],
    start="2024-01-01",
    storage=coinbase_assets.AzureStorageResource(account_url="https://x.blob.core.windows.net"),
    alerts=coinbase_assets.AlertOptions(web_url="https://example.com"),
)
definitions.get_repository_def().load_all_definitions()
coinbase_assets.CoinbaseCandlesComponent.model()
after = state()
for name in before:
    if before[name] != after[name]:
        print(name, before[name], after[name])
"""


def test_importing_and_building_change_nothing_else() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
