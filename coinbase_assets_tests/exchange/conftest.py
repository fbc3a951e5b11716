"""Shared by the tests of the client: a clock, a market, altered answers, fixtures that fetch."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from coinbase_assets.candles.series import Granularity
from coinbase_assets.candles.windows import Answer
from coinbase_assets.exchange.budget import RequestBudget
from coinbase_assets.exchange.budget_stores import BudgetFile
from coinbase_assets.exchange.client import ExchangeClient
from coinbase_assets.exchange.resource import ExchangeResource
from coinbase_assets_tests.stand_in import answers as http
from coinbase_assets_tests.stand_in.exchange import LOOPBACK, StandInExchange
from coinbase_assets_tests.stand_in.markets import ListMarket

START = datetime(2024, 1, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
FAULTS = ["500", "503", "429", "cut", "cut-body", "truncated", "html"]
NOW = START + timedelta(hours=8, minutes=30, seconds=30)
MINUTE = Granularity.ONE_MINUTE
WINDOW = 5 * HOUR
"""The time range of one request for 1m candles."""
FIRST_WINDOW = "BTC-USD:1m 2024-01-01T00:00:00Z until 2024-01-01T05:00:00Z"


class Clock:
    """A clock that stands still unless it is set."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now.timestamp()


def full_market(start: datetime = START, seconds: int = 60, candles: int = 1440) -> ListMarket:
    """Return a market with a candle in every bucket, from 300 buckets before `start` on."""
    first = int(start.timestamp())
    rows = [[first + seconds * n, 1.0, 4.0, 2.0, 3.0, 5.5] for n in range(-300, candles)]
    return ListMarket({seconds: rows})


@dataclass(kw_only=True)
class AlteredExchange(StandInExchange):
    """A stand-in exchange that changes its right answers before it sends them."""

    change: Callable[[http.HttpAnswer], http.HttpAnswer]

    def answer(self, target: str, address: str = LOOPBACK) -> tuple[http.HttpAnswer, float]:
        right, pause = super().answer(target, address)
        return self.change(right), pause


def with_headers(**changed: str | None) -> Callable[[http.HttpAnswer], http.HttpAnswer]:
    def change(answer: http.HttpAnswer) -> http.HttpAnswer:
        headers = {**answer.headers, **changed}
        return replace(answer, headers={name: text for name, text in headers.items() if text})

    return change


def with_rows(*rows: Any) -> Callable[[http.HttpAnswer], http.HttpAnswer]:
    return lambda answer: replace(answer, body=json.dumps(rows).encode())


def row(minute: int = 0, **changes: Any) -> list[Any]:
    time = int(START.timestamp()) + 60 * minute
    values = {"time": time, "low": 1, "high": 4, "open": 2, "close": 3, "volume": 5}
    return list((values | changes).values())


Fetch = Callable[..., list[Answer]]


@pytest.fixture
def budget_file(tmp_path: Path) -> Path:
    return tmp_path / "budget.sqlite"


@pytest.fixture
def fetch(budget_file: Path) -> Fetch:
    """Fetches a range with a new client: by default the first window, at 1000 requests a second."""

    async def answers(
        url: str,
        start: datetime = START,
        end: datetime = START + WINDOW,
        granularity: Granularity = MINUTE,
        *,
        product: str = "BTC-USD",
        give_up_after: float = 10,
        clock: Callable[[], float] = time.time,
        budget: tuple[Any, ...] = (1000, 1000),
    ) -> list[Answer]:
        shared = RequestBudget(BudgetFile(budget_file), url, *budget)
        async with ExchangeClient(url, shared, give_up_after, clock) as client:
            found = client.fetch_candles(product, granularity, start, end)
            return [answer async for answer in found]

    return lambda *args, **options: asyncio.run(answers(*args, **options))


def candles(answers: list[Answer]) -> pa.Table:
    return pa.concat_tables(answer.candles for answer in answers)


@pytest.fixture
def right(fetch: Fetch) -> pa.Table:
    """Return the candles of the first window."""
    with StandInExchange() as exchange:
        return candles(fetch(exchange.url))


@pytest.fixture
def new_york() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "America/New_York")
        time.tzset()
        yield
    time.tzset()


def resource(url: str, budget_file: Path, rate: float) -> ExchangeResource:
    return ExchangeResource(
        api_url=url, requests_per_second=rate, give_up_after=10, budget_path=str(budget_file)
    )
