"""100,000 mutated answers to the real client, over httpx and h11, without sockets; a count of each.

Counted as *wrong* is what an accepted answer must not hold: a candle that breaks a rule, that lies
off the grid, outside the asked window, or in a bucket that was open; an answer whose time is more
than an hour ahead of the exchange's; trades or products that break a rule. The rules are written
here once more, since the client's own would find nothing. Counted as *changed* is an accepted
answer with a right shape that holds a candle or a time that the good answer has not: no client can
know that, and the comparison with coarser candles is made for it. Fewer rows are neither.
"""

import asyncio
import json
import random
import resource
import time
from collections import Counter
from collections.abc import AsyncGenerator

import httpcore
import httpx

from benchmarks.fuzz_answers import NOW, PRODUCT, Good, good_answers, mutated, parts_of
from coinbase_assets.candles.series import is_product
from coinbase_assets.candles.trades import TradePage
from coinbase_assets.candles.windows import Answer
from coinbase_assets.exchange.budget import RequestBudget
from coinbase_assets.exchange.budget_stores import Change, Lanes
from coinbase_assets.exchange.client import ExchangeClient
from coinbase_assets.exchange.errors import ExchangeError
from coinbase_assets.exchange.products import Catalogue

ANSWERS = 100_000
URL = "http://exchange.invalid"
_TIME = json.dumps({"epoch": NOW.timestamp()}).encode()
_TOLD = (
    f"HTTP/1.1 200 OK\r\nDate: {NOW:%a, %d %b %Y %H:%M:%S GMT}\r\nContent-Length: {len(_TIME)}\r\n"
).encode() + (b"\r\n" + _TIME)


class _Wire(httpcore.AsyncMockBackend):
    """Connections on which `parts` arrive, in whatever request; the time, if that is asked."""

    parts: list[bytes]

    def __init__(self) -> None:
        super().__init__([])

    async def connect_tcp(self, *_: object, **__: object) -> httpcore.AsyncNetworkStream:
        return _Connection(self)


class _Connection(httpcore.AsyncMockStream):
    def __init__(self, wire: _Wire) -> None:
        super().__init__([])
        self._wire = wire

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if buffer:
            asks_time = buffer.startswith(b"GET /time ")
            self._buffer = [_TOLD] if asks_time else list(self._wire.parts)


class _Network(httpx.AsyncHTTPTransport):
    def __init__(self, wire: _Wire) -> None:
        super().__init__()
        self._pool = httpcore.AsyncConnectionPool(network_backend=wire, max_keepalive_connections=0)


class _FreeStore:
    """A budget that nothing uses up."""

    def update(self, exchange: str, change: Change) -> Lanes:
        return change(Lanes(0, 0, 0, 0), 0)

    update_at_once = update

    def close(self) -> None:
        pass


def main(_: int) -> None:
    """Print the counts, the longest time of an answer, and the memory."""
    asyncio.run(fuzz(1_000, seed=1))  # after which all libraries are loaded
    before, began = _peak(), time.monotonic()
    counts, slowest = asyncio.run(fuzz(ANSWERS))
    seconds = time.monotonic() - began
    print(
        f"\n**{ANSWERS:,} mutated answers** ({seconds:.0f} s)\n\n| outcome | answers |\n|---|---|"
    )
    for outcome, number in counts.most_common():
        print(f"| {outcome} | {number:,} |")
    print(f"\nslowest {slowest * 1000:.0f} ms, peak {before:.0f} MB, in the end {_peak():.0f} MB")


async def fuzz(answers: int, seed: int = 0) -> tuple[Counter[str], float]:
    """Return how many answers had which outcome, and the seconds that the slowest took."""
    wire, counts, slowest = _Wire(), Counter[str](), 0.0
    budget = RequestBudget(_FreeStore(), URL, 10**6, 10**6)
    goods = good_answers()
    async with ExchangeClient(
        URL, budget, 0, NOW.timestamp, request_seconds=5, transport=_Network(wire)
    ) as client:
        for number in range(answers):
            draw = random.Random(f"{seed}/{number}")
            good = draw.choice(goods)
            wire.parts = list(parts_of(mutated(good, draw), draw))
            began = time.monotonic()
            counts[await _outcome(client, good)] += 1
            slowest = max(slowest, time.monotonic() - began)
    return counts, slowest


async def _outcome(client: ExchangeClient, good: Good) -> str:
    try:
        answer = await _ask(client, good)
    except ExchangeError as error:
        return f"refused: {type(error).__name__}"
    except Exception as error:  # noqa: BLE001 (this is what is searched for)
        return f"UNDECLARED: {type(error).__name__}"
    if (answer.as_of - NOW).total_seconds() > 3_600:
        return "WRONG: time ahead"
    if isinstance(answer, Answer):
        return _of_candles(answer, good)
    if isinstance(answer, TradePage):
        return _of_trades(answer)
    names = answer.products["id"].to_pylist()
    return "accepted" if all(map(is_product, names)) and names else "WRONG: products"


async def _ask(client: ExchangeClient, good: Good) -> Answer | TradePage | Catalogue:
    if good.kind == "trades":
        return await client.fetch_trades(PRODUCT)
    if good.kind == "products":
        return await client.fetch_products()
    answers: AsyncGenerator[Answer, None] = client.fetch_candles(
        PRODUCT, good.granularity, good.start, good.end, confirm_empty=False
    )
    try:
        return await anext(answers)
    finally:
        await answers.aclose()


def _of_candles(answer: Answer, good: Good) -> str:
    rows = answer.candles.to_pylist()
    step, previous = good.granularity.delta, None
    for row in rows:
        moment = row["time"]
        prices = [row[name] for name in ("low", "open", "close", "high")]
        in_place = answer.window.start <= moment < answer.window.end
        closed = moment + step <= answer.as_of and (previous is None or previous < moment)
        on_grid = moment.timestamp() % good.granularity.seconds == 0
        finite = all(0 <= value < float("inf") for value in (*prices, row["volume"]))
        bounded = prices[0] == min(prices) and prices[-1] == max(prices)
        if not (in_place and closed and on_grid and finite and bounded):
            return "WRONG: candles"
        previous = moment
    found = [
        [row["time"].timestamp(), *(row[k] for k in ("low", "high", "open", "close", "volume"))]
        for row in rows
    ]
    true = all(row == good.rows.get(int(row[0])) for row in found)
    return "accepted" if true else "accepted, changed"


def _of_trades(page: TradePage) -> str:
    ids = page.trades["id"].to_pylist()
    numbers = page.trades["price"].to_pylist() + page.trades["size"].to_pylist()
    right = ids == sorted(set(ids)) and all(0 < number < float("inf") for number in numbers)
    return "accepted" if right else "WRONG: trades"


def _peak() -> float:
    """Return the most memory that this process has used, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
