"""`python -m coinbase_assets_tests.exchange.peak_memory URL...`: what answers take of memory.

Asks each server for candles and for products, and prints as JSON by how many MB this process was
larger meanwhile than before. Linux only: it counts the peak in a file.
"""

import asyncio
import json
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from coinbase_assets.exchange.budget import RequestBudget
from coinbase_assets.exchange.budget_stores import BudgetFile
from coinbase_assets.exchange.client import ExchangeClient
from coinbase_assets.exchange.errors import ExchangeError
from coinbase_assets_tests.exchange.conftest import MINUTE, START, WINDOW


def _peak() -> float:
    """Return the peak since it was reset. getrusage's begins with that of the parent process."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _reset_peak() -> float:
    """Let the peak begin with what is used now. Returns that in MB."""
    Path("/proc/self/clear_refs").write_text("5")
    return _peak()


async def _ask(url: str, folder: Path) -> None:
    budget = RequestBudget(BudgetFile(folder / "budget"), url, 10**6, 10**6)
    async with ExchangeClient(url, budget, 0, request_seconds=5) as client:
        with suppress(ExchangeError):
            await anext(client.fetch_candles("BTC-USD", MINUTE, START, START + WINDOW))
        with suppress(ExchangeError):
            await client.fetch_products()


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        # The first server gives good answers, after which all libraries are loaded.
        first, *others = sys.argv[1:]
        asyncio.run(_ask(first, Path(name)))
        grown = []
        for url in others:
            before = _reset_peak()
            asyncio.run(_ask(url, Path(name)))
            grown.append(round(_peak() - before, 1))
    print(json.dumps(grown))


if __name__ == "__main__":
    main()
