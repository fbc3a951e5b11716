"""The client asks the stand-in exchange for trades: pages, faults, refusals, the rate limit."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from coinbase_assets.candles.trades import TradePage, parse_trades
from coinbase_assets.exchange.budget import RequestBudget
from coinbase_assets.exchange.budget_stores import BudgetFile
from coinbase_assets.exchange.client import ExchangeClient
from coinbase_assets.exchange.errors import (
    ExchangeUnavailable,
    InvalidAnswer,
    ProductNotFound,
    RateLimited,
    RequestRefused,
    TradesNotOffered,
)
from coinbase_assets_tests.exchange.conftest import (
    FAULTS,
    NOW,
    START,
    AlteredExchange,
    Clock,
    resource,
    with_rows,
)
from coinbase_assets_tests.stand_in.answers import HttpAnswer, error_answer
from coinbase_assets_tests.stand_in.exchange import StandInExchange
from coinbase_assets_tests.stand_in.faults import Faults
from coinbase_assets_tests.stand_in.markets import SyntheticMarket
from coinbase_assets_tests.stand_in.trades import TradeTape

MARKET = SyntheticMarket("BTC-USD")
TAPE = TradeTape(
    market=MARKET, start=int(START.timestamp()), end=int((NOW + timedelta(hours=1)).timestamp())
)

FetchTrades = Callable[..., TradePage]


@pytest.fixture
def fetch_trades(budget_file: Path) -> FetchTrades:
    async def page(
        url: str, after: int | None = None, product: str = "BTC-USD", give_up_after: float = 10
    ) -> TradePage:
        budget = RequestBudget(BudgetFile(budget_file), url, 1000, 1000)
        async with ExchangeClient(url, budget, give_up_after, Clock()) as client:
            return await client.fetch_trades(product, after)

    return lambda *args, **options: asyncio.run(page(*args, **options))


def served(faults: Faults | None = None) -> StandInExchange:
    return StandInExchange(
        rate=None,
        clock=Clock(),
        markets={"BTC-USD": MARKET, "A-B": MARKET},
        trades={"BTC-USD": TAPE},
        faults=faults,
    )


def altered(change: Callable[[HttpAnswer], HttpAnswer]) -> AlteredExchange:
    return AlteredExchange(
        rate=None, markets={"BTC-USD": MARKET}, trades={"BTC-USD": TAPE}, change=change
    )


def test_fetch_trades_newest(fetch_trades: FetchTrades) -> None:
    with served() as exchange:
        page = fetch_trades(exchange.url)
    newest = [trade for trade in TAPE.trades if trade.microseconds <= NOW.timestamp() * 1e6]
    assert page.trades == parse_trades([trade.row() for trade in newest[-1000:]])
    assert (page.as_of, page.requests) == (NOW, 1)
    assert exchange.requests[0].params == {"limit": "1000"}


def test_fetch_trades_below_an_id(fetch_trades: FetchTrades) -> None:
    with served() as exchange:
        assert fetch_trades(exchange.url, 500).trades["id"].to_pylist() == list(range(1, 500))
        assert fetch_trades(exchange.url, 1).trades.num_rows == 0
    assert exchange.requests[0].params == {"limit": "1000", "after": "500"}


@pytest.mark.parametrize("fault", FAULTS)
def test_fetch_trades_survives_fault(fetch_trades: FetchTrades, fault: str) -> None:
    with served(lambda number, *_: fault if number == 0 else None) as exchange:
        page = fetch_trades(exchange.url, 500)
    assert page.trades.num_rows == 499
    assert page.requests == len(exchange.requests) == 2


@pytest.mark.parametrize(("fault", "error"), [("503", ExchangeUnavailable), ("429", RateLimited)])
def test_fetch_trades_gives_up(
    fetch_trades: FetchTrades, fault: str, error: type[Exception]
) -> None:
    with (
        served(lambda *_: fault) as exchange,
        pytest.raises(error, match="trades of BTC-USD with ids below 500, attempt 1"),
    ):
        fetch_trades(exchange.url, 500, give_up_after=0.001)


def test_fetch_trades_refuses_broken_rule(fetch_trades: FetchTrades) -> None:
    with (
        altered(with_rows({"trade_id": 1, "price": "0", "size": "1"})) as exchange,
        pytest.raises(InvalidAnswer, match=r"trades of BTC-USD, .*has no time; nothing of this"),
    ):
        fetch_trades(exchange.url)
    assert len(exchange.requests) == 1


def test_fetch_trades_unknown_product(fetch_trades: FetchTrades) -> None:
    with served() as exchange, pytest.raises(ProductNotFound, match=r"does not know .* NO-SUCH"):
        fetch_trades(exchange.url, product="NO-SUCH")


def test_fetch_trades_without_endpoint(fetch_trades: FetchTrades) -> None:
    with served() as exchange, pytest.raises(TradesNotOffered, match="knows the product"):
        fetch_trades(exchange.url, product="A-B")
    paths = [request.path for request in exchange.requests]
    assert paths == ["/products/A-B/trades", "/products/A-B"]


@pytest.mark.parametrize("status", [400, 401, 403, 405])
def test_fetch_trades_refused(fetch_trades: FetchTrades, status: int) -> None:
    def refuse_trades(answer: HttpAnswer) -> HttpAnswer:
        refused = error_answer(status, "no").with_headers({"Date": answer.headers["Date"]})
        return refused if answer.body.startswith(b"[") else answer

    with altered(refuse_trades) as exchange, pytest.raises(TradesNotOffered):
        fetch_trades(exchange.url)


def test_fetch_trades_all_refused_says_nothing_of_trades(fetch_trades: FetchTrades) -> None:
    def refuse(_: HttpAnswer) -> HttpAnswer:
        return error_answer(403, "blocked")

    with altered(refuse) as exchange, pytest.raises(RequestRefused, match="403") as error:
        fetch_trades(exchange.url)
    assert not isinstance(error.value, TradesNotOffered)


def test_fetch_trades_shares_the_budget(budget_file: Path) -> None:
    with served() as exchange:
        with resource(exchange.url, budget_file, rate=20).get_client() as client:
            for after in range(2, 32):
                client.fetch_trades("BTC-USD", after)
        arrived = [request.arrived for request in exchange.requests]
    assert len(arrived) == 30
    assert arrived[-1] - arrived[0] > 0.5
