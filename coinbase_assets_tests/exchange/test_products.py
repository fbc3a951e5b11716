"""The list of products, fetched from the stand-in exchange."""

import asyncio
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from coinbase_assets.exchange.budget import RequestBudget
from coinbase_assets.exchange.budget_stores import BudgetFile
from coinbase_assets.exchange.errors import (
    ExchangeError,
    ExchangeUnavailable,
    InvalidAnswer,
    RateLimited,
    RequestRefused,
)
from coinbase_assets.exchange.products import PRODUCT_SCHEMA, Catalogue
from coinbase_assets_tests.exchange.conftest import (
    FAULTS,
    NOW,
    AlteredExchange,
    Clock,
    resource,
    with_rows,
)
from coinbase_assets_tests.stand_in.exchange import StandInExchange
from coinbase_assets_tests.stand_in.markets import synthetic_markets


def products(url: str, budget_file: Path, give_up_after: float = 10) -> Catalogue:
    shared = resource(url, budget_file, rate=1000)
    with shared.get_client(give_up_after=give_up_after) as client:
        return client.fetch_products()


def test_fetch_products_sorts_by_id(budget_file: Path) -> None:
    markets = synthetic_markets(["LTC-USD", "BTC-EUR", "ETH-EUR"])
    with StandInExchange(clock=Clock(), markets=markets, delisted=["LTC-USD"]) as exchange:
        catalogue = products(exchange.url, budget_file)
    assert catalogue.products.schema == PRODUCT_SCHEMA
    assert catalogue.products["id"].to_pylist() == ["BTC-EUR", "ETH-EUR", "LTC-USD"]
    assert catalogue.products.to_pylist()[2] == {
        "id": "LTC-USD",
        "base_currency": "LTC",
        "quote_currency": "USD",
        "quote_increment": "0.00001",
        "base_increment": "0.00000001",
        "display_name": "LTC-USD",
        "status": "delisted",
        "trading_disabled": True,
    }
    assert catalogue.as_of == NOW
    assert catalogue.requests == 1


def test_fetch_products_dates_cached_answer(budget_file: Path) -> None:
    clock = Clock()
    with StandInExchange(clock=clock, cache_seconds=5) as exchange:
        products(exchange.url, budget_file)
        clock.now += timedelta(seconds=4)
        cached = products(exchange.url, budget_file)
    assert cached.as_of == NOW - timedelta(seconds=1)


@pytest.mark.parametrize("kind", [*FAULTS, "empty"])
def test_fetch_products_survives_each_fault(budget_file: Path, kind: str) -> None:
    with StandInExchange(faults=lambda number, *_: None if number else kind) as exchange:
        catalogue = products(exchange.url, budget_file)
    assert catalogue.products.num_rows == 8
    assert catalogue.requests == len(exchange.requests) == 2


def test_fetch_products_waits_for_budget(budget_file: Path) -> None:
    with StandInExchange() as exchange:
        with closing(RequestBudget(BudgetFile(budget_file), exchange.url, 1000)) as budget:
            asyncio.run(budget.pause(0.5))
        began = time.monotonic()
        products(exchange.url, budget_file)
    assert time.monotonic() - began > 0.4


@pytest.mark.parametrize(
    ("kind", "error", "cause"),
    [
        ("500", ExchangeUnavailable, "answered 500 "),
        ("429", RateLimited, "answered 429 "),
        ("404", RequestRefused, "answered 404 .* to http://.*/products$"),
        ("html", InvalidAnswer, "not JSON: '<html>"),
        ("empty", InvalidAnswer, "the list of products is empty$"),
    ],
)
def test_fetch_products_gives_up_with_cause(
    budget_file: Path, kind: str, error: type[ExchangeError], cause: str
) -> None:
    with (
        StandInExchange(rate=None, faults=lambda *_: kind) as exchange,
        pytest.raises(ExchangeError, match=cause) as failure,
    ):
        products(exchange.url, budget_file, give_up_after=0.2)
    assert type(failure.value) is error
    attempts = len(exchange.requests)
    assert str(failure.value).startswith(f"list of products, attempt {attempts}: ")


@pytest.mark.parametrize(
    ("rows", "refusal"),
    [
        (["ETH-EUR"], "entry 0: 'ETH-EUR' is not an object"),
        ([{"id": "A-B"}, None], "entry 1: None is not an object"),
        ([{"id": "A-B"}, {"status": "online"}], "entry 1: {'status': 'online'} has no id"),
        ([{"id": ""}], "entry 0: {'id': ''} has no id"),
        ([{"id": 7}], "product 7: id 7 is not a string"),
        ([{"id": "A-B"}, {"id": "C-D"}, {"id": "A-B"}], "product 'A-B': its id is not unique"),
        (
            [{"id": "A-B"}, {"id": "../../etc/passwd"}],
            "entry 1, .* is not a product's name, such as",
        ),
        ([{"id": "A-B\n"}], r"id 'A-B\\n' is not a product's name"),
        ([{"id": "A" * 200_000}], r"id 'A{76}\.\.\. is not a product's name"),
        ([{"id": "A-" + "B" * 33}], "is not a product's name"),
        (
            [{"id": "A-B", "display_name": "\x1b[2J"}],
            r"display_name '\\x1b\[2J' is not printable text of at most 100 characters",
        ),
        ([{"id": "A-B", "status": "a" * 101}], "status .* is not printable text of at most 100"),
        ([{"id": "A-B", "base_currency": "\udcff"}], "base_currency .* is not printable text"),
        (
            [{"id": "A-B", "quote_increment": 0.01}],
            "product 'A-B': quote_increment 0.01 is not a str",
        ),
        ([{"id": "A-B", "trading_disabled": "no"}], "'A-B': trading_disabled 'no' is not a bool"),
    ],
)
def test_parse_products_response_refuses_broken_rule(
    budget_file: Path, rows: list[Any], refusal: str
) -> None:
    with (
        AlteredExchange(change=with_rows(*rows)) as exchange,
        pytest.raises(InvalidAnswer, match=refusal) as failure,
    ):
        products(exchange.url, budget_file)
    assert str(failure.value).startswith("list of products, attempt 1: ")
    assert len(str(failure.value).splitlines()) == 1
    assert len(str(failure.value)) < 400
    assert len(exchange.requests) == 1


def test_parse_products_response_accepts_missing_and_new_fields(budget_file: Path) -> None:
    with AlteredExchange(change=with_rows({"id": "A-B", "status": None, "new": [1]})) as exchange:
        (product,) = products(exchange.url, budget_file).products.to_pylist()
    assert product == dict.fromkeys(PRODUCT_SCHEMA.names) | {"id": "A-B"}
