"""The request budget shared by real processes: in a file, and in real servers of each kind."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import chain, zip_longest
from pathlib import Path
from unittest.mock import patch

import dagster as dg
import pytest

from coinbase_assets.components.own_deployment import build_exchange
from coinbase_assets.exchange import budget_servers
from coinbase_assets.exchange.budget import RequestBudget
from coinbase_assets.exchange.budget_servers import budget_store
from coinbase_assets.exchange.client import ExchangeClient
from coinbase_assets.exchange.errors import ExchangeUnavailable, RateLimited
from coinbase_assets.settings import load_settings
from coinbase_assets_tests.conftest import free_port
from coinbase_assets_tests.stand_in.exchange import StandInExchange
from coinbase_assets_tests.stand_in.servers import SERVERS, Server, running_server

URL = "https://exchange"
RATE, SPARE = 20.0, 12
WORKER = """
import asyncio, sys, time
from pathlib import Path
from coinbase_assets.exchange.budget import RequestBudget
from coinbase_assets.exchange.budget_servers import budget_store

async def main(place, url, rate, burst, tasks, seconds, urgent):
    store = budget_store(place if "://" in place else "", Path(place))
    store.update("another exchange", lambda lanes, now: lanes)
    budget = RequestBudget(store, url, float(rate), int(burst), urgent=urgent == "True")
    print("ready", flush=True)
    sys.stdin.readline()
    end = time.monotonic() + float(seconds)

    async def send():
        while time.monotonic() < end:
            await budget.wait()
            print(time.monotonic(), flush=True)

    await asyncio.gather(*(send() for _ in range(int(tasks))))

asyncio.run(main(*sys.argv[1:]))
"""
Process = subprocess.Popen[str]


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with running_server(request.param) as started:
        yield started


@pytest.fixture(scope="module", params=["file", *SERVERS])
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Return the path or URL where the budget is stored."""
    if request.param == "file":
        yield str(tmp_path_factory.mktemp("budget") / "budget.sqlite")
        return
    with running_server(request.param) as started:
        yield started.url


@pytest.fixture
def exchange_url(request: pytest.FixtureRequest) -> str:
    """Return an exchange of this test's own, whose budget is unused."""
    return f"https://{abs(hash(request.node.name))}"


def start(
    place: str, url: str, *tasks: int, seconds: float, urgent: bool = False
) -> tuple[float, list[Process]]:
    """Start a process for each number of tasks; return their start in monotonic seconds, and them.

    Each task sends requests for `seconds`. If `urgent`, the first process sends urgent requests.
    """
    common = (place, url, RATE, SPARE)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, *map(str, (*common, number, seconds, lane))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number, lane in zip_longest(tasks, [urgent], fillvalue=False)
    ]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    began = time.monotonic()
    for process in processes:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    return began, processes


def sent(process: Process) -> list[float]:
    """Wait for the end of the process; return when it sent its requests, in monotonic seconds."""
    with process:
        return [float(line) for line in process.communicate()[0].splitlines()]


def within_budget(began: float, *times: list[float]) -> bool:
    counted = enumerate(sorted(chain(*times)), start=1)
    return all(number <= SPARE + RATE * (time - began) + 1 for number, time in counted)


@pytest.mark.soak
@pytest.mark.long
def test_budget_shares_equally_between_processes(place: str, exchange_url: str) -> None:
    began, processes = start(place, exchange_url, 3, 8, 30, seconds=5)
    times = [sent(process) for process in processes]
    shares = [sum(began + 0.5 < time < began + 5 for time in each) for each in times]
    assert min(shares) >= 0.75 * max(shares)
    assert sum(shares) >= 0.9 * RATE * 4.5
    assert within_budget(began, *times)


@pytest.mark.soak
@pytest.mark.parametrize("urgent", [False, True])
def test_budget_keeps_rate_after_process_is_killed(
    place: str, exchange_url: str, urgent: bool
) -> None:
    began, (victim, *others) = start(place, exchange_url, 8, 8, 8, seconds=2, urgent=urgent)
    time.sleep(0.8)
    victim.kill()
    killed = time.monotonic()
    last, *rest = map(sent, (victim, *others))
    assert last
    after = [time for time in chain(*rest) if killed + 0.3 < time < began + 2]
    assert len(after) >= 0.8 * RATE * (began + 2 - killed - 0.3)
    assert within_budget(began, last, *rest)


# Servers


def budget(
    server: Server, url: str = URL, rate: float = 1, *, urgent: bool = False
) -> RequestBudget:
    store = budget_store(server.url, Path())
    # The first connection takes a while.
    store.update("another exchange", lambda lanes, now: lanes)
    return RequestBudget(store, url, rate, 2, urgent=urgent)


def granted(budget: RequestBudget, requests: int, within: float = 0.4) -> int:
    """Return how many of the requests may be sent within so many seconds."""

    async def count() -> int:
        waits = [asyncio.create_task(budget.wait()) for _ in range(requests)]
        sent, late = await asyncio.wait(waits, timeout=within)
        for wait in late:
            wait.cancel()
        await asyncio.gather(*sent)
        return len(sent)

    with closing(budget):
        return asyncio.run(count())


def test_budget_server_counts_requests_of_other_machine(server: Server, exchange_url: str) -> None:
    assert granted(budget(server, exchange_url, 0.01), 3) == 2
    assert granted(budget(server, exchange_url, 0.01), 1) == 0
    assert granted(budget(server, f"{exchange_url}0", 0.01), 3) == 2


def test_budget_server_sends_urgent_request_first(server: Server, exchange_url: str) -> None:
    assert granted(budget(server, exchange_url, 0.1), 4) == 2
    assert granted(budget(server, exchange_url, 0.1, urgent=True), 2) == 1


def test_budget_server_pauses_other_machine_after_429(server: Server) -> None:
    async def ask(exchange: StandInExchange) -> None:
        shared = budget(server, exchange.url, 100)
        async with ExchangeClient(exchange.url, shared, give_up_after=0.1) as client:
            await client.fetch_products()

    with StandInExchange(retry_after=30, faults=lambda *_: "429") as exchange:
        with pytest.raises(RateLimited):
            asyncio.run(ask(exchange))
        assert granted(budget(server, exchange.url, 100), 1) == 0


def test_budget_server_of_settings_is_used(server: Server) -> None:
    with StandInExchange() as exchange:
        environment = {"COINBASE_API_URL": exchange.url, "COINBASE_BUDGET_URL": server.url}
        with patch.dict(os.environ, environment):
            resource = build_exchange(load_settings())
            with (
                dg.build_resources({"exchange": resource}) as resources,
                resources.exchange.get_client() as client,
            ):
                client.fetch_products()
    assert granted(budget(server, exchange.url, 0.001), 3) == 1


def test_budget_server_may_restart(server: Server, exchange_url: str) -> None:
    async def interrupt(shared: RequestBudget) -> None:
        await shared.wait()
        server.stop()
        waiting = asyncio.create_task(shared.wait())
        await asyncio.sleep(0.3)
        assert not waiting.done()
        await asyncio.to_thread(server.start)
        await waiting

    with closing(budget(server, exchange_url, 100)) as shared:
        asyncio.run(interrupt(shared))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:correct-horse@127.0.0.1:{port}/budgets",
        "redis://:correct-horse@127.0.0.1:{port}",
    ],
)
def test_budget_server_missing_is_named_without_password(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget_servers, "PATIENCE", 0.2)
    port = free_port()
    shared = RequestBudget(budget_store(url.format(port=port), Path()), URL, 1)
    with pytest.raises(ExchangeUnavailable) as refused:
        asyncio.run(shared.wait())
    message = str(refused.value)
    assert f"://127.0.0.1:{port}" in message
    assert message.endswith("or correct COINBASE_BUDGET_URL")
    assert "correct-horse" not in message
    assert "\n" not in message
