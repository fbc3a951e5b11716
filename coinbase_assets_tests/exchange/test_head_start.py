"""Requests of a head start: clients take their answers, and ask again where they failed."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import tenacity

from coinbase_assets.candles.calendar import DAY
from coinbase_assets.candles.series import Series
from coinbase_assets.candles.windows import Question
from coinbase_assets.exchange.budget import RequestBudget
from coinbase_assets.exchange.budget_stores import BudgetFile
from coinbase_assets.exchange.client import ExchangeClient
from coinbase_assets.exchange.head_start import begun_requests, head_start
from coinbase_assets_tests.exchange.conftest import START, WINDOW, candles, resource
from coinbase_assets_tests.stand_in.exchange import StandInExchange

SERIES = Series.parse("BTC-USD:1m")


@contextmanager
def begun(exchange: StandInExchange, file: Path, *questions: Question) -> Iterator[None]:
    budget = RequestBudget(BudgetFile(file), exchange.url, 1000, 1000)
    with head_start(ExchangeClient(exchange.url, budget, give_up_after=0), questions):
        yield


@tenacity.retry(
    retry=tenacity.retry_if_result(lambda enough: not enough),
    wait=tenacity.wait_fixed(0.01),
    stop=tenacity.stop_after_delay(20),
)
def wait_for_requests(exchange: StandInExchange, count: int) -> bool:
    return len(exchange.requests) >= count


def test_client_takes_answers_and_asks_for_the_rest(budget_file: Path) -> None:
    with StandInExchange(rate=None) as exchange:
        with resource(exchange.url, budget_file, rate=1000).get_client() as plain:
            right = list(plain.fetch_candles(SERIES, START, START + 5 * WINDOW))
        exchange.requests.clear()
        with begun(exchange, budget_file, (SERIES, START, START + 3 * WINDOW)):
            wait_for_requests(exchange, 3)
            with resource(exchange.url, budget_file, rate=1000).get_client() as client:
                answers = list(client.fetch_candles(SERIES, START, START + 5 * WINDOW))
                assert len(exchange.requests) == 5
                list(client.fetch_candles(SERIES, START, START + WINDOW))
        assert len(exchange.requests) == 6
    assert [answer.window for answer in answers] == [answer.window for answer in right]
    assert candles(answers) == candles(right)


@pytest.mark.parametrize("fault", ["500", "404", "cut", "html"])
def test_client_asks_again_where_the_head_start_failed(budget_file: Path, fault: str) -> None:
    def fails_at_first(number: int, *_: object) -> str | None:
        return fault if number < 2 else None

    with StandInExchange(rate=None, faults=fails_at_first) as exchange:
        with begun(exchange, budget_file, (SERIES, START, START + 2 * WINDOW)):
            wait_for_requests(exchange, 2)
            with resource(exchange.url, budget_file, rate=1000).get_client() as client:
                answers = list(client.fetch_candles(SERIES, START, START + 2 * WINDOW))
        assert len(exchange.requests) == 4
    assert candles(answers).num_rows > 500


def test_answers_that_nobody_takes_are_dropped(budget_file: Path) -> None:
    with StandInExchange(rate=None, latency=30) as exchange:
        began = time.monotonic()
        with begun(exchange, budget_file, (SERIES, START, START + WINDOW)):
            wait_for_requests(exchange, 1)
            assert len(begun_requests()) == 1
    assert not begun_requests()
    assert time.monotonic() - began < 20


def test_young_windows_are_left_to_the_client(budget_file: Path) -> None:
    """A machine's clock may be fast, and the exchange refuses to answer for times to come."""
    now = datetime.now(UTC)
    start = now.replace(second=0, microsecond=0) - DAY - timedelta(hours=7)
    question = (SERIES, start, now + DAY)
    with StandInExchange(rate=None) as exchange, begun(exchange, budget_file, question):
        assert [window.start for _, window in begun_requests()] == [start]


def test_as_many_are_asked_for_as_loading_takes(budget_file: Path) -> None:
    question = (SERIES, START, START + 100 * WINDOW)
    with StandInExchange(rate=None) as exchange, begun(exchange, budget_file, question):
        assert len(begun_requests()) == 22


def test_impossible_product_is_not_asked_for(budget_file: Path) -> None:
    with StandInExchange(rate=None) as exchange:
        impossible = Series("BTC-USD?", SERIES.granularity)
        with begun(exchange, budget_file, (impossible, START, START + WINDOW)):
            (request,) = begun_requests().values()
            assert request.exception(timeout=20)
        assert not exchange.requests
