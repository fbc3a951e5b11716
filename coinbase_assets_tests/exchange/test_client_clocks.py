"""The client against the stand-in exchange: clocks, and the age of answers out of caches."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest

from coinbase_assets.exchange.budget import RequestBudget
from coinbase_assets.exchange.budget_stores import BudgetFile
from coinbase_assets.exchange.client import ExchangeClient
from coinbase_assets_tests.exchange.conftest import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    START,
    WINDOW,
    Clock,
    Fetch,
    candles,
    full_market,
)
from coinbase_assets_tests.stand_in.exchange import StandInExchange

# Time


@pytest.mark.parametrize("year", [2024, 2100])
def test_fetch_candles_closes_by_exchange_clock(fetch: Fetch, year: int) -> None:
    start, clock = START.replace(year=year), Clock(NOW.replace(year=year))
    with StandInExchange(clock=clock, markets={"BTC-USD": full_market(start)}) as exchange:
        answers = fetch(exchange.url, start, start + DAY)
    times = candles(answers)["time"].to_pylist()
    assert times == [start + n * MINUTE.delta for n in range(510)]
    assert answers[-1].as_of == clock.now
    assert answers[-1].answered_through == start + timedelta(hours=8, minutes=30)


@pytest.mark.parametrize("hours", [-5, 5])
def test_fetch_candles_ignores_wrong_machine_clock(fetch: Fetch, hours: int) -> None:
    market, mine = full_market(), Clock(NOW + hours * HOUR)
    with StandInExchange(clock=Clock(), markets={"BTC-USD": market}) as exchange:
        answers = fetch(exchange.url, end=START + DAY, clock=mine)
    assert candles(answers).num_rows == 510
    assert len(exchange.requests) == 2  # the windows from 10:00 on lie in the future


def test_fetch_candles_survives_clock_set_back(budget_file: Path) -> None:
    async def count(url: str) -> int:
        mine, answers = Clock(), 0
        async with ExchangeClient(
            url, RequestBudget(BudgetFile(budget_file), url, 1000), clock=mine
        ) as client:
            async for _ in client.fetch_candles("BTC-USD", MINUTE, START, START + DAY):
                mine.now = NOW - 60 * DAY
                answers += 1
        return answers

    with StandInExchange(clock=Clock(START + 2 * DAY)) as exchange:
        assert asyncio.run(count(exchange.url)) == 5


def test_fetch_candles_requests_future_range_once(fetch: Fetch) -> None:
    with StandInExchange(clock=Clock()) as exchange:
        (answer,) = fetch(exchange.url, START + DAY, START + 3 * DAY, clock=Clock())
    assert len(exchange.requests) == answer.requests == 1
    assert answer.candles.num_rows == 0
    assert answer.answered_through == START + DAY


def test_fetch_candles_survives_clock_years_ahead(fetch: Fetch) -> None:
    with StandInExchange(clock=Clock(), markets={"BTC-USD": full_market()}) as exchange:
        answers = fetch(exchange.url, end=START + 3 * DAY, clock=Clock(NOW + 700 * DAY))
    assert candles(answers).num_rows == 510
    assert [answer.window.start for answer in answers] == [START, START + WINDOW]


@pytest.mark.parametrize("cdn_date", ["now", "origin"])
def test_fetch_candles_dates_cached_answer(
    fetch: Fetch, cdn_date: Literal["now", "origin"]
) -> None:
    clock, mine = Clock(NOW - timedelta(seconds=40)), Clock()
    with StandInExchange(
        clock=clock, cache_seconds=300, cdn_date=cdn_date, markets={"BTC-USD": full_market()}
    ) as exchange:
        fresh = fetch(exchange.url, end=START + DAY, clock=mine)
        clock.now += timedelta(seconds=20)  # meanwhile, the candle of 08:29 has closed
        cached = fetch(exchange.url, end=START + DAY, clock=mine)
    assert [request.params for request in exchange.requests[:2]] == [
        request.params for request in exchange.requests[2:]
    ]
    assert candles(cached) == candles(fresh)
    assert candles(cached)["time"][-1].as_py() == START + timedelta(hours=8, minutes=28)
    assert timedelta(0) <= fresh[-1].as_of - cached[-1].as_of < timedelta(seconds=30)


@pytest.mark.parametrize("seconds", [20, 60])
@pytest.mark.parametrize("hour", [8, 22])
def test_fetch_candles_live_avoids_caches(fetch: Fetch, hour: int, seconds: int) -> None:
    clock, market = Clock(START + hour * HOUR), full_market()
    with StandInExchange(cache_seconds=300, clock=clock, markets={"BTC-USD": market}) as exchange:
        fetch(exchange.url, end=START + DAY, clock=clock)
        clock.now += timedelta(seconds=seconds)
        live = fetch(exchange.url, end=START + DAY, clock=clock)[-1]
    assert live.as_of == clock.now
    assert live.candles["time"][-1].as_py() >= clock.now - 2 * MINUTE.delta
