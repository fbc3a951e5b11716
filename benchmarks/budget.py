"""How much of the exchange's limit three processes use together, and who gets what of it.

Each collects a series of its own. They share a budget in a file, as on one machine, or in a server,
as machines behind one IP address do.
"""

import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from benchmarks.processes import COMMAND, azurite
from coinbase_assets_tests.processes import process_environment
from coinbase_assets_tests.stand_in.exchange import StandInExchange
from coinbase_assets_tests.stand_in.servers import running_server

PRODUCTS = ("BTC-USD", "ETH-EUR", "ETH-USD")
RATE, SECONDS = 10, 30


def main(runs: int) -> None:
    print("\n**Three processes collecting at the same time**\n")
    print(f"| the budget in | of {RATE} requests/s, min and median | a process's share | 429s |")
    print("|---|---|---|---|")
    for kind in ("file", "redis", "postgres"):
        used, shares, refused = zip(*(_measure(kind) for _ in range(runs)), strict=True)
        middle = sorted(used)[len(used) // 2]
        each = [share for run in shares for share in run]
        told = f"{min(each):.0%} to {max(each):.0%}"
        print(f"| {kind} | {min(used):.1%}, {middle:.1%} | {told} | {sum(refused)} |", flush=True)


def _measure(kind: str) -> tuple[float, list[float], int]:
    """The part of the limit that was used, each product's share of that, and answers of 429."""
    with (
        tempfile.TemporaryDirectory() as folder,
        StandInExchange(latency=0.1) as exchange,
        _collecting(kind, Path(folder), exchange.url),
    ):
        while len({request.product for request in exchange.requests}) < len(PRODUCTS):
            time.sleep(0.1)
        # The burst is over by then.
        begin = time.monotonic() + 3
        time.sleep(3 + SECONDS)
        answered = [one for one in exchange.requests if one.status == 200]
        sent = [one for one in answered if begin <= one.arrived < begin + SECONDS]
    shares = Counter(one.product for one in sent)
    refused = sum(one.status == 429 for one in exchange.requests)
    return len(sent) / (RATE * SECONDS), [shares[one] / len(sent) for one in PRODUCTS], refused


@contextmanager
def _collecting(kind: str, folder: Path, url: str) -> Iterator[None]:
    server = nullcontext() if kind == "file" else running_server(kind)
    with server as budget, azurite(folder) as storage:
        settings = {
            "AZURE_STORAGE_CONNECTION_STRING": storage,
            "COINBASE_API_URL": url,
            "COINBASE_BUDGET_URL": budget.url if budget else "",
        }
        homes = [folder / ("home" if kind == "file" else product) for product in PRODUCTS]
        started = [
            _collect(product, process_environment(home, **settings))
            for product, home in zip(PRODUCTS, homes, strict=True)
        ]
        try:
            yield
        finally:
            for process in started:
                process.kill()
                process.wait()


def _collect(product: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    days = ["--from", "2023-01-01", "--to", "2023-12-31", "--series", f"{product}:1m"]
    return subprocess.Popen(
        [COMMAND, "collect", *days],
        env=environment,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
