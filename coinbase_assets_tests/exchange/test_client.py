"""The client against the stand-in exchange: windows, faults, the rate limit and empty answers."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from coinbase_assets.candles.series import Granularity, Series
from coinbase_assets.exchange.budget import BURST, HEADROOM, RequestBudget
from coinbase_assets.exchange.budget_stores import BudgetFile
from coinbase_assets.exchange.client import ExchangeClient
from coinbase_assets.exchange.errors import (
    ExchangeError,
    ExchangeUnavailable,
    ExchangeUnreachable,
    InvalidAnswer,
    ProductNotFound,
    RateLimited,
    RequestRefused,
)
from coinbase_assets.exchange.resource import ExchangeResource
from coinbase_assets.exchange.responses import parse_candles_response
from coinbase_assets_tests.exchange.conftest import (
    DAY,
    FAULTS,
    FIRST_WINDOW,
    MINUTE,
    START,
    WINDOW,
    AlteredExchange,
    Clock,
    Fetch,
    candles,
    full_market,
    resource,
    with_headers,
)
from coinbase_assets_tests.stand_in import answers as http
from coinbase_assets_tests.stand_in.exchange import StandInExchange
from coinbase_assets_tests.stand_in.faults import random_faults
from coinbase_assets_tests.stand_in.markets import ListMarket

# Windows


def test_fetch_candles_keeps_order(fetch: Fetch) -> None:
    faults = {1: "slow"}
    with StandInExchange(
        rate=None, slow_seconds=0.2, faults=lambda n, *_: faults.get(n)
    ) as exchange:
        answers = fetch(exchange.url, end=START + 6 * WINDOW)
    assert [answer.window.start for answer in answers] == [START + n * WINDOW for n in range(6)]
    times = candles(answers)["time"].to_pylist()
    assert len(times) > 1600
    assert all(left < right for left, right in pairwise(times))


def test_fetch_candles_requests_ahead(budget_file: Path) -> None:
    async def asked(exchange: StandInExchange) -> list[int]:
        budget = RequestBudget(BudgetFile(budget_file), exchange.url, 1000, 1000)
        async with ExchangeClient(exchange.url, budget) as client:
            answers = client.fetch_candles("BTC-USD", MINUTE, START, START + 10 * WINDOW)
            return [len(exchange.requests) async for _ in answers]

    with StandInExchange(rate=None, latency=1) as exchange:
        assert asyncio.run(asked(exchange)) == [10] * 10


def test_fetch_candles_requests_while_parsing(
    fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parse_once_all_are_requested(*arguments: Any) -> pa.Table:
        give_up = time.monotonic() + 10
        while len(exchange.requests) < windows and time.monotonic() < give_up:
            time.sleep(0.01)
        asked.append(len(exchange.requests))
        return parse_candles_response(*arguments)

    # Fewer than the event loop has threads, which wait here and reserve slots, too.
    windows = 4
    asked: list[int] = []
    with StandInExchange(rate=None) as exchange, monkeypatch.context() as patch:
        patch.setattr(
            "coinbase_assets.exchange.client.parse_candles_response", parse_once_all_are_requested
        )
        fetch(exchange.url, end=START + windows * WINDOW)
    assert asked == [windows] * windows


@pytest.mark.parametrize("second", [59, 299])
@pytest.mark.parametrize("granularity", Granularity)
def test_fetch_candles_gets_full_window_at_any_time(
    fetch: Fetch, granularity: Granularity, second: int
) -> None:
    market = full_market(seconds=granularity.seconds, candles=400)
    with StandInExchange(rate=None, markets={"BTC-USD": market}) as exchange:
        clock = Clock(START + timedelta(seconds=second))
        (answer,) = fetch(
            exchange.url, START, START + 300 * granularity.delta, granularity, clock=clock
        )
    assert len(exchange.requests) == 1
    assert answer.candles["time"].to_pylist() == [START + n * granularity.delta for n in range(300)]
    assert answer.answered_through == answer.window.end


def test_fetch_candles_clips_early_rows(fetch: Fetch, right: pa.Table) -> None:
    with StandInExchange(rate=None, early_rows=7) as exchange:
        assert candles(fetch(exchange.url)) == right


@pytest.mark.usefixtures("new_york")
def test_fetch_candles_ignores_machine_time_zone(fetch: Fetch) -> None:
    market = full_market()
    with StandInExchange(clock=Clock(), markets={"BTC-USD": market}) as exchange:
        answers = fetch(exchange.url, end=START + DAY)
    assert candles(answers)["time"].to_pylist() == [START + n * MINUTE.delta for n in range(510)]


def test_fetch_candles_requests_nothing_for_empty_range(fetch: Fetch) -> None:
    with StandInExchange() as exchange:
        assert fetch(exchange.url, START, START) == []
    assert exchange.requests == []


def test_fetch_candles_stopped_early_ends_requests(budget_file: Path) -> None:
    async def stop_early(url: str) -> None:
        budget = RequestBudget(BudgetFile(budget_file), url, 30, 5)
        async with ExchangeClient(url, budget) as client:
            answers = client.fetch_candles("BTC-USD", MINUTE, START, START + 50 * WINDOW)
            for _ in range(2):
                await anext(answers)
            assert len(asyncio.all_tasks()) > 5
            await answers.aclose()
            assert len(asyncio.all_tasks()) == 1

    with StandInExchange(rate=None) as exchange:
        asyncio.run(stop_early(exchange.url))
        time.sleep(0.2)  # requests under way arrive
        sent = len(exchange.requests)
        time.sleep(0.2)
        assert len(exchange.requests) == sent


def test_fetch_candles_reuses_connections(fetch: Fetch) -> None:
    connections = set()

    def note(answer: http.HttpAnswer) -> http.HttpAnswer:
        connections.add(threading.current_thread())
        return answer

    with AlteredExchange(rate=None, change=note) as exchange:
        fetch(exchange.url, end=START + 70 * WINDOW)
    assert len(exchange.requests) == 70
    assert len(connections) < 50


# Faults


def test_fetch_candles_survives_each_fault(fetch: Fetch) -> None:
    faults = dict(enumerate(FAULTS, start=1))
    with StandInExchange(rate=None, faults=lambda n, *_: faults.get(n)) as faulty:
        found = fetch(faulty.url, end=START + 8 * WINDOW)
    with StandInExchange(rate=None) as flawless:
        assert candles(found) == candles(fetch(flawless.url, end=START + 8 * WINDOW))
    assert sorted(request.fault for request in faulty.requests) == sorted(8 * [""] + FAULTS)
    assert sum(answer.requests for answer in found) == len(faulty.requests)


def test_fetch_candles_survives_many_faults(fetch: Fetch) -> None:
    with StandInExchange(rate=None, faults=random_faults(0.3)) as faulty:
        found = fetch(faulty.url, end=START + 20 * WINDOW)
    with StandInExchange(rate=None) as flawless:
        assert candles(found) == candles(fetch(flawless.url, end=START + 20 * WINDOW))
    assert len(faulty.requests) >= 25


@pytest.mark.parametrize(
    ("kind", "error", "cause"),
    [
        ("500", ExchangeUnavailable, "answered 500 .*Internal server error"),
        ("503", ExchangeUnavailable, "answered 503 .*Service unavailable"),
        ("cut", ExchangeUnreachable, r"no answer from http://127\.0\.0\.1:"),
        ("cut-body", ExchangeUnreachable, r"no answer from http://127\.0\.0\.1:"),
        ("truncated", InvalidAnswer, r"not JSON: '\[\["),
        ("html", InvalidAnswer, "not JSON: '<html>"),
        ("429", RateLimited, "answered 429 .*Public rate limit exceeded"),
    ],
)
def test_fetch_candles_gives_up_with_cause(
    fetch: Fetch, kind: str, error: type[ExchangeError], cause: str
) -> None:
    with (
        StandInExchange(rate=None, faults=lambda *_: kind) as exchange,
        pytest.raises(ExchangeError, match=cause) as failure,
    ):
        fetch(exchange.url, give_up_after=0.4)
    assert type(failure.value) is error
    attempts = len(exchange.requests)
    assert str(failure.value).startswith(f"{FIRST_WINDOW}, attempt {attempts}: ")


def test_fetch_candles_gives_up_after_given_time(fetch: Fetch) -> None:
    with StandInExchange(rate=None, faults=lambda *_: "500") as exchange:
        began = time.monotonic()
        with pytest.raises(ExchangeUnavailable):
            fetch(exchange.url, give_up_after=1.2)
    assert len(exchange.requests) >= 2
    assert time.monotonic() - began < 4


def test_fetch_candles_names_failed_window(fetch: Fetch) -> None:
    def faults(number: int, product: str, params: Any) -> str | None:
        return "500" if params["end"].startswith("2024-01-01T14:59") else None

    with StandInExchange(rate=None, faults=faults) as exchange:
        named = "^BTC-USD:1m 2024-01-01T10:00:00Z until 2024-01-01T15:00:00Z, "
        with pytest.raises(ExchangeUnavailable, match=named):
            fetch(exchange.url, end=START + DAY, give_up_after=0.1)


def test_fetch_candles_does_not_count_budget_waits(fetch: Fetch) -> None:
    with StandInExchange(rate=None, faults=lambda n, *_: "500" if n == 15 else None) as exchange:
        answers = fetch(exchange.url, end=START + 16 * WINDOW, give_up_after=1.2, budget=(10, 1))
    assert sum(answer.requests for answer in answers) == 17


def test_fetch_candles_names_host_without_answer(fetch: Fetch) -> None:
    url = "http://127.0.0.1:1"
    with pytest.raises(ExchangeUnavailable, match=f": no answer from {url} ") as failure:
        fetch(url, give_up_after=0.4)
    assert str(failure.value).startswith(f"{FIRST_WINDOW}, attempt ")


def test_fetch_candles_requests_unknown_product_once(fetch: Fetch) -> None:
    with (
        StandInExchange() as exchange,
        pytest.raises(ProductNotFound, match="does not know the product NO-SUCH;") as failure,
    ):
        fetch(exchange.url, product="NO-SUCH")
    assert len(exchange.requests) == 1
    assert f"{exchange.url}/products lists" in str(failure.value)


def test_fetch_candles_sends_refused_request_once(fetch: Fetch) -> None:
    with (
        StandInExchange(faults=lambda *_: "400") as exchange,
        pytest.raises(RequestRefused, match=r"answered 400 .*Bad request") as failure,
    ):
        fetch(exchange.url)
    assert type(failure.value) is RequestRefused
    assert str(failure.value).startswith(f"{FIRST_WINDOW}, attempt 1: ")
    assert len(exchange.requests) == 1


# The rate limit


def test_fetch_candles_keeps_exchange_limit(fetch: Fetch) -> None:
    with StandInExchange(rate=10, burst=15) as exchange:
        assert len(fetch(exchange.url, end=START + 25 * WINDOW, budget=(10,))) == 25
    assert [request.status for request in exchange.requests] == [200] * 25


def test_fetch_candles_honours_retry_after(fetch: Fetch) -> None:
    faults = {0: "429"}
    with StandInExchange(retry_after=2, faults=lambda n, *_: faults.get(n)) as exchange:
        fetch(exchange.url)
    limited, repeated = (request.arrived for request in exchange.requests)
    assert 1.95 <= repeated - limited < 6


def test_fetch_candles_waits_second_without_date(fetch: Fetch) -> None:
    headers = {"Retry-After": "Mon, 01 Jan 2024 08:31:00 GMT", "Date": None}

    def undated(answer: http.HttpAnswer) -> http.HttpAnswer:
        return with_headers(**headers)(answer) if answer.status == 429 else answer

    faults = {0: "429"}
    with AlteredExchange(change=undated, faults=lambda n, *_: faults.get(n)) as exchange:
        fetch(exchange.url)
    limited, repeated = (request.arrived for request in exchange.requests)
    assert repeated - limited >= 0.95


def test_fetch_candles_pauses_every_process_after_429(fetch: Fetch, budget_file: Path) -> None:
    async def another_process(url: str) -> None:
        with closing(RequestBudget(BudgetFile(budget_file), url, 1000)) as budget:
            await asyncio.wait_for(budget.wait(), timeout=0.3)

    with StandInExchange(retry_after=30, faults=lambda *_: "429") as exchange:
        with pytest.raises(RateLimited):
            fetch(exchange.url, give_up_after=20)  # less than the exchange asks for
        assert len(exchange.requests) == 1
        with pytest.raises(TimeoutError):
            asyncio.run(another_process(exchange.url))


SERIES = Series("BTC-USD", MINUTE)


def answered(exchange: ExchangeResource, windows: int = 1, **options: Any) -> int:
    """Return the number of answers that a new client gets."""
    series = Series("BTC-USD", MINUTE)
    with exchange.get_client(**options) as client:
        return len(list(client.fetch_candles(series, START, START + windows * WINDOW)))


@pytest.mark.soak
def test_urgent_clients_keep_exchange_limit(budget_file: Path) -> None:
    with StandInExchange(rate=10, burst=15) as exchange, ThreadPoolExecutor() as threads:
        shared = resource(exchange.url, budget_file, rate=10)
        backfills = [threads.submit(answered, shared, 15) for _ in range(3)]
        assert [answered(shared, 2, urgent=True) for _ in range(5)] == [2] * 5
        assert [backfill.result() for backfill in backfills] == [15] * 3
    assert [request.status for request in exchange.requests] == [200] * 55


def test_urgent_client_does_not_wait_for_others(budget_file: Path) -> None:
    with StandInExchange() as exchange:
        shared = resource(exchange.url, budget_file, rate=0.05)
        assert answered(shared, BURST - HEADROOM) == BURST - HEADROOM
        began = time.monotonic()
        assert answered(shared, urgent=True) == 1
    assert time.monotonic() - began < 15  # an ordinary client would wait for 20 s


def test_client_gives_up_after_its_own_time(budget_file: Path) -> None:
    with StandInExchange(rate=None, faults=lambda *_: "500") as exchange:
        with pytest.raises(ExchangeUnavailable):
            answered(resource(exchange.url, budget_file, rate=1000), give_up_after=0)
        assert len(exchange.requests) == 1


# Empty answers


def test_fetch_candles_doubts_empty_answer(fetch: Fetch, right: pa.Table) -> None:
    with StandInExchange(faults=lambda number, *_: None if number else "empty") as exchange:
        (answer,) = fetch(exchange.url)
    assert answer.candles == right
    assert answer.requests == len(exchange.requests) == 2


@pytest.mark.parametrize("granularity", Granularity)
def test_fetch_candles_confirms_empty_answer_at_other_url(
    fetch: Fetch, granularity: Granularity
) -> None:
    with StandInExchange(markets={"NEW-USD": ListMarket({})}) as exchange:
        end = START + 300 * granularity.delta
        (answer,) = fetch(exchange.url, START - DAY, end - DAY, granularity, product="NEW-USD")
    first, second = (request.params for request in exchange.requests)
    assert first != second
    assert answer.candles.num_rows == 0
    assert answer.requests == 2


def test_fetch_candles_accepts_unconfirmed_empty_answer(budget_file: Path) -> None:
    series = Series("NEW-USD", MINUTE)
    with (
        StandInExchange(markets={"NEW-USD": ListMarket({})}) as exchange,
        resource(exchange.url, budget_file, rate=1000).get_client() as client,
    ):
        (answer,) = client.fetch_candles(series, START, START + WINDOW, confirm_empty=False)
    assert answer.candles.num_rows == 0
    assert len(exchange.requests) == answer.requests == 1


def test_steps_of_a_run_share_a_client(budget_file: Path) -> None:
    with StandInExchange(rate=None) as exchange:
        shared = resource(exchange.url, budget_file, rate=1000)
        context = dg.build_init_resource_context()
        with shared.yield_for_execution(context) as of_run:
            with of_run.get_client() as first:
                assert len(list(first.fetch_candles(SERIES, START, START + WINDOW))) == 1
            with of_run.get_client() as second, of_run.get_client(urgent=True) as urgent:
                assert first is second is not urgent
                assert len(list(second.fetch_candles(SERIES, START, START + WINDOW))) == 1
        with pytest.raises(RuntimeError, match="not running"):
            list(first.fetch_candles(SERIES, START, START + WINDOW))
        with shared.get_client() as third, shared.get_client() as fourth:
            assert third is not fourth


def test_caller_that_stops_early_stops_the_requests(budget_file: Path) -> None:
    with StandInExchange(rate=None, latency=0.2) as exchange:
        with resource(exchange.url, budget_file, rate=1).get_client() as client:
            answers = client.fetch_candles(SERIES, START, START + 50 * WINDOW)
            next(answers)
            answers.close()
            asked = len(exchange.requests)
            assert len(list(client.fetch_candles(SERIES, START, START + WINDOW))) == 1
        assert BURST > asked == len(exchange.requests) - 1


def test_answers_that_nobody_takes_are_not_waited_for(budget_file: Path) -> None:
    with StandInExchange(rate=None, latency=30) as exchange:
        shared = resource(exchange.url, budget_file, rate=1000)
        began = time.monotonic()
        with shared.get_client() as client:
            client.ask_ahead([(SERIES, START, START + WINDOW)])
    assert time.monotonic() - began < 20
