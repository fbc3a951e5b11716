"""Hostile servers: every answer is bounded, and only declared errors leave the client."""

import asyncio
import gc
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import pytest

from coinbase_assets.exchange.bounded_json import parse_json
from coinbase_assets.exchange.budget import RequestBudget
from coinbase_assets.exchange.budget_stores import BudgetFile
from coinbase_assets.exchange.client import ExchangeClient
from coinbase_assets.exchange.errors import (
    ExchangeError,
    ExchangeUnavailable,
    ExchangeUnreachable,
    InvalidAnswer,
    ProductNotFound,
    RateLimited,
)
from coinbase_assets_tests.exchange import peak_memory
from coinbase_assets_tests.exchange.conftest import MINUTE, START, WINDOW, AlteredExchange
from coinbase_assets_tests.exchange.hostile_servers import (
    BLOCK,
    BROKEN,
    DRIPS,
    FLOODS,
    NO_HTTP,
    REFUSED,
    ROW,
    HostileServer,
    Script,
    drip,
    flood,
    head,
    layers,
    whole,
)
from coinbase_assets_tests.hostile_strings import assert_plain
from coinbase_assets_tests.stand_in.exchange import StandInExchange

Asks = Callable[[ExchangeClient], Awaitable[object]]

# Generous, because other work may keep this machine busy.
_SOON = 20.0
# Megabytes by which a hostile answer may make a process grow.
MOST_GROWN = 100


@asynccontextmanager
async def a_client(
    url: str, budget_file: Path, seconds: float = 5.0
) -> AsyncIterator[ExchangeClient]:
    """Yield a client that asks once, and waits for an answer for so many seconds."""
    budget = RequestBudget(BudgetFile(budget_file), url, 10**6, 10**6)
    async with ExchangeClient(url, budget, 0, request_seconds=seconds) as client:
        yield client


async def first_window(client: ExchangeClient) -> object:
    asked = client.fetch_candles("BTC-USD", MINUTE, START, START + WINDOW, confirm_empty=False)
    return (await anext(asked)).candles


async def newest_trades(client: ExchangeClient) -> object:
    return await client.fetch_trades("BTC-USD")


async def catalogue(client: ExchangeClient) -> object:
    return await client.fetch_products()


def outcome(script: Script, budget_file: Path, asks: Asks, seconds: float = 5.0) -> object:
    async def ask(url: str) -> object:
        async with a_client(url, budget_file, seconds) as client:
            return await asks(client)

    with HostileServer(script) as server:
        return asyncio.run(ask(server.url))


def refusal(
    script: Script, budget_file: Path, asks: Asks = first_window, seconds: float = 5.0
) -> ExchangeError:
    """Return the error, a line of bounded length, with which the client refuses the answer."""
    began = time.monotonic()
    with pytest.raises(ExchangeError) as refused:
        outcome(script, budget_file, asks, seconds)
    assert time.monotonic() - began < _SOON
    message = str(refused.value)
    assert_plain(message)
    assert "\n" not in message
    assert len(message) < 600
    return refused.value


@pytest.mark.parametrize("name", DRIPS)
def test_answer_without_end_is_given_up_in_time(budget_file: Path, name: str) -> None:
    error = refusal(DRIPS[name], budget_file, seconds=0.3)
    assert type(error) is ExchangeUnreachable
    assert "no whole answer within 0.3 s" in str(error)


@pytest.mark.parametrize("asks", [first_window, newest_trades, catalogue])
def test_time_is_bounded_for_every_question(budget_file: Path, asks: Asks) -> None:
    error = refusal(DRIPS["body"], budget_file, asks, seconds=0.3)
    assert "no whole answer within 0.3 s" in str(error)


def test_answer_has_no_more_time_than_is_left(budget_file: Path) -> None:
    assert "within 2 s" in str(refusal(DRIPS["body"], budget_file, seconds=30.0))


@pytest.mark.parametrize("name", FLOODS)
def test_answer_beyond_a_bound_is_garbled(budget_file: Path, name: str) -> None:
    assert type(refusal(FLOODS[name], budget_file, seconds=15.0)) is InvalidAnswer


@pytest.mark.parametrize("name", NO_HTTP)
def test_what_is_no_answer_is_refused(budget_file: Path, name: str) -> None:
    assert type(refusal(NO_HTTP[name], budget_file)) is ExchangeUnreachable


@pytest.mark.parametrize("name", BROKEN)
def test_broken_answer_is_garbled(budget_file: Path, name: str) -> None:
    assert type(refusal(BROKEN[name], budget_file)) is InvalidAnswer


@pytest.mark.parametrize("name", REFUSED)
def test_no_address_of_an_answer_is_read(budget_file: Path, name: str) -> None:
    error = refusal(REFUSED[name], budget_file)
    assert type(error) is ExchangeError
    assert "answered " in str(error)


@pytest.mark.parametrize(
    ("status", "error"),
    [("429 Too Many Requests", RateLimited), ("503 Service Unavailable", ExchangeUnavailable)],
)
def test_body_of_an_error_is_cut(
    budget_file: Path, status: str, error: type[ExchangeError]
) -> None:
    for script in (
        flood(lambda: head(status) + b"\r\n", BLOCK),
        drip(lambda: head(status) + b"\r\nwait", b"!"),
        drip(lambda: head(status, Content_Length="99") + b"\r\nwait", b""),
        whole(b"not gzip", status, Content_Encoding="gzip"),
        whole(layers(1, b"\0" * 10_000_000), status, Content_Encoding="gzip"),
        whole(b"", status, Content_Encoding="gzip, br", Content_Type="text/html; charset=idna"),
    ):
        refused = refusal(script, budget_file, seconds=4.0)
        assert type(refused) is error
        assert f"answered {status[:3]} " in str(refused)


@pytest.mark.parametrize("charset", ["utf-16", "idna", "zlib_codec", "rot13", "\x7f", "hex"])
def test_charset_of_a_good_answer_is_ignored(budget_file: Path, charset: str) -> None:
    body, kind = json.dumps([ROW]).encode(), f"application/json; charset={charset}"
    table = outcome(whole(body, Content_Type=kind), budget_file, first_window)
    assert table.num_rows == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("packing", ["gzip", "GZIP", "x-gzip"])
def test_one_layer_of_gzip_is_unpacked(budget_file: Path, packing: str) -> None:
    script = whole(layers(1, json.dumps([ROW]).encode()), Content_Encoding=packing)
    assert outcome(script, budget_file, first_window).num_rows == 1  # type: ignore[attr-defined]


def test_no_cookie_is_kept_and_gzip_alone_is_asked_for(budget_file: Path) -> None:
    async def ask_twice(url: str) -> None:
        async with a_client(url, budget_file) as client:
            for _ in range(2):
                await first_window(client)

    script = whole(b"[]", Set_Cookie="a=b; Path=/", Connection="close")
    with HostileServer(script) as server:
        asyncio.run(ask_twice(server.url))
    assert len(server.received) == 2
    for request in server.received:
        assert b"cookie" not in request.lower()
        assert b"\r\naccept-encoding: gzip\r\n" in request.lower()


def test_request_on_a_closed_connection_is_not_sent_again(budget_file: Path) -> None:
    received: list[bytes] = []

    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            received.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"".join(whole(b"[]")()))
            received.append(await reader.readuntil(b"\r\n\r\n"))

    async def ask_twice() -> None:
        async with await asyncio.start_server(answer_once, "127.0.0.1") as server:
            host, port = server.sockets[0].getsockname()
            async with a_client(f"http://{host}:{port}", budget_file) as client:
                await first_window(client)
                with pytest.raises(ExchangeUnreachable):
                    await first_window(client)

    asyncio.run(ask_twice())
    assert len(received) == 2


@pytest.mark.parametrize("product", ["\ud800", "BTC-USD/../..", "", "é-USD", "A-B\r\nX: y"])
def test_impossible_product_is_not_asked_for(budget_file: Path, product: str) -> None:
    async def ask(url: str) -> None:
        async with a_client(url, budget_file) as client:
            with pytest.raises(ProductNotFound) as refused:
                await client.fetch_trades(product)
            assert_plain(str(refused.value))
            with pytest.raises(ProductNotFound):
                await anext(client.fetch_candles(product, MINUTE, START, START + WINDOW))

    with StandInExchange() as exchange:
        asyncio.run(ask(exchange.url))
    assert exchange.requests == []


def test_too_many_trades_or_products_are_garbled(budget_file: Path) -> None:
    trades = whole(json.dumps([{"trade_id": number} for number in range(1_101)]).encode())
    assert "more than 1,100 trades" in str(refusal(trades, budget_file, newest_trades))
    products = whole(json.dumps([{"id": f"A{n}-B"} for n in range(100_000)]).encode())
    assert "more than 20,000 products" in str(refusal(products, budget_file, catalogue))


def test_catalogue_may_be_longer_than_a_page_of_candles(budget_file: Path) -> None:
    products = [{"id": f"A{n}-B", "status_message": "m" * 300} for n in range(5_000)]
    with AlteredExchange(
        change=lambda right: replace(right, body=json.dumps(products).encode()), rate=None
    ) as exchange:

        async def ask() -> object:
            async with a_client(exchange.url, budget_file) as client:
                return (await client.fetch_products()).products.num_rows

        assert asyncio.run(ask()) == 5_000


def test_values_of_other_kinds_are_counted_too() -> None:
    values = b"[" + b'"ab",' * 12_800
    assert isinstance(parse_json(values[:-6] + b"]", 400, "items"), list)
    with pytest.raises(InvalidAnswer, match="more than 399 items"):
        parse_json(values + b'"ab"]', 399, "items")


def test_brackets_in_strings_are_no_levels() -> None:
    for text in (r'["[[[[[[", "\"[[[[[[", "\\"]', '["]]]]]]", [[["]]"]]]]'):
        assert parse_json(text.encode(), 9, "items") == json.loads(text)
    for text in ('["]]]]]]", [[[[1]]]]]', r'["\"]]]]]]", [[[[1]]]]]'):
        with pytest.raises(InvalidAnswer, match="nested deeper than 4 levels"):
            parse_json(text.encode(), 9, "items")


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize(
    ("scheme", "proxy", "script"),
    [
        ("http", "http", "header"),
        ("https", "http", "header"),
        ("https", "http", "nothing"),
        pytest.param("http", "socks5h", "nothing", marks=pytest.mark.soak),
    ],
)
def test_proxy_that_does_not_answer_is_given_up(
    budget_file: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, proxy: str, script: str
) -> None:
    """httpx itself waits without end for a SOCKS proxy that takes a connection and says nothing."""

    async def ask() -> object:
        async with a_client(f"{scheme}://exchange.invalid", budget_file, 0.3) as client:
            return await first_window(client)

    with HostileServer(DRIPS[script]) as server:
        for name in ("all_proxy", "ALL_PROXY", "http_proxy", "https_proxy"):
            monkeypatch.setenv(name, server.url.replace("http", proxy))
        with pytest.raises(ExchangeUnreachable, match=r"no answer from https?://exchange\.invalid"):
            asyncio.run(ask())
    # httpx leaves the socket of such a connection to the garbage collector.
    gc.collect()


@pytest.mark.soak
def test_memory_for_hostile_answers_is_bounded() -> None:
    scripts = {
        **FLOODS,
        "429": flood(lambda: head("429 Too Many Requests") + b"\r\n", BLOCK),
        **NO_HTTP,
        "products": whole(json.dumps([{"id": f"A{n}-B"} for n in range(200_000)]).encode()),
        "many fields": whole(
            json.dumps([{"id": "A-B"}] * 19_000 + [{str(n): n for n in range(500_000)}]).encode()
        ),
        "short strings": whole(b'["ab"' + b',"ab"' * 1_500_000 + b"]"),
        "brackets": whole(b"[]" * 3_900_000),
        "quotes": whole(b'"\\"' * 2_600_000),
    }
    with ExitStack() as stack:
        good = stack.enter_context(StandInExchange())
        urls = [stack.enter_context(HostileServer(script)).url for script in scripts.values()]
        command = [sys.executable, "-m", peak_memory.__name__, good.url, *urls]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=900)
    grown = dict(zip(scripts, json.loads(done.stdout), strict=True))
    assert max(grown.values()) < MOST_GROWN, grown
