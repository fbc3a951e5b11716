"""The client against the stand-in exchange: faults, clocks, caches, refusals, and the budget."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pytest

from coinbase_assets.candles.series import Granularity, Series
from coinbase_assets.candles.windows import Answer
from coinbase_assets.exchange.budget import BURST, HEADROOM, RequestBudget
from coinbase_assets.exchange.budget_stores import BudgetFile
from coinbase_assets.exchange.client import ExchangeClient
from coinbase_assets.exchange.errors import (
    ExchangeError,
    ExchangeUnavailable,
    InvalidAnswer,
    ProductNotFound,
    RateLimited,
)
from coinbase_assets.exchange.products import PRODUCT_SCHEMA, Catalogue
from coinbase_assets.exchange.resource import ExchangeResource
from coinbase_assets.exchange.responses import read_candles
from coinbase_assets_tests.conftest import free_port
from coinbase_assets_tests.stand_in import answers as http
from coinbase_assets_tests.stand_in.exchange import StandInExchange
from coinbase_assets_tests.stand_in.faults import random_faults
from coinbase_assets_tests.stand_in.markets import ListMarket, synthetic_markets

START = datetime(2024, 1, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOW = START + timedelta(hours=8, minutes=30, seconds=30)
MINUTE = Granularity.ONE_MINUTE
WINDOW = 5 * HOUR
"""What one request covers at one minute."""
FIRST_WINDOW = "BTC-USD:1m 2024-01-01T00:00:00Z to before 2024-01-01T05:00:00Z"


class Clock:
    """A clock that stands still unless it is set."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now.timestamp()


def full_market(start: datetime = START, seconds: int = 60, candles: int = 1440) -> ListMarket:
    """A market that trades in every bucket, some before the start, too; the forming one is full."""
    first = int(start.timestamp())
    rows = [[first + seconds * n, 1.0, 4.0, 2.0, 3.0, 5.5] for n in range(-300, candles)]
    return ListMarket({seconds: rows})


@dataclass(kw_only=True)
class AlteredExchange(StandInExchange):
    """A stand-in whose right answers are changed before they are sent."""

    change: Callable[[http.HttpAnswer], http.HttpAnswer]

    def answer(self, target: str) -> tuple[http.HttpAnswer, float]:
        right, pause = super().answer(target)
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
    """Fetch a range with a new client; by default the first window, nearly without a limit."""

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
    """The candles of the first window."""
    with StandInExchange() as exchange:
        return candles(fetch(exchange.url))


@pytest.fixture
def new_york() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "America/New_York")
        time.tzset()
        yield
    time.tzset()


# Windows


def test_answers_come_in_order_though_they_arrive_in_another(fetch: Fetch) -> None:
    faults = {1: "slow"}
    with StandInExchange(rate=None, slow_seconds=0.2, faults=lambda n, *_: faults.get(n)) as it:
        answers = fetch(it.url, end=START + 6 * WINDOW)
    assert [answer.window.start for answer in answers] == [START + n * WINDOW for n in range(6)]
    times = candles(answers)["time"].to_pylist()
    assert len(times) > 1600
    assert all(left < right for left, right in pairwise(times))


def test_windows_are_asked_for_before_the_first_is_answered(budget_file: Path) -> None:
    async def asked(exchange: StandInExchange) -> list[int]:
        budget = RequestBudget(BudgetFile(budget_file), exchange.url, 1000, 1000)
        async with ExchangeClient(exchange.url, budget) as client:
            answers = client.fetch_candles("BTC-USD", MINUTE, START, START + 10 * WINDOW)
            return [len(exchange.requests) async for _ in answers]

    with StandInExchange(rate=None, latency=1) as exchange:
        assert asyncio.run(asked(exchange)) == [10] * 10


def test_reading_an_answer_holds_up_no_request(
    fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_once_all_are_asked(*arguments: Any) -> pa.Table:
        give_up = time.monotonic() + 10
        while len(exchange.requests) < 10 and time.monotonic() < give_up:
            time.sleep(0.01)
        asked.append(len(exchange.requests))
        return read_candles(*arguments)

    asked: list[int] = []
    with StandInExchange(rate=None) as exchange, monkeypatch.context() as patch:
        patch.setattr("coinbase_assets.exchange.client.read_candles", read_once_all_are_asked)
        fetch(exchange.url, end=START + 10 * WINDOW)
    assert asked == [10] * 10


@pytest.mark.parametrize("second", [59, 299])
@pytest.mark.parametrize("granularity", Granularity)
def test_a_full_window_is_whole_at_any_time(
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


def test_rows_before_the_window_are_clipped(fetch: Fetch, right: pa.Table) -> None:
    with StandInExchange(rate=None, early_rows=7) as exchange:
        assert candles(fetch(exchange.url)) == right


@pytest.mark.usefixtures("new_york")
def test_the_machines_time_zone_does_not_shift_windows(fetch: Fetch) -> None:
    market = full_market()
    with StandInExchange(clock=Clock(), markets={"BTC-USD": market}) as exchange:
        answers = fetch(exchange.url, end=START + DAY)
    assert candles(answers)["time"].to_pylist() == [START + n * MINUTE.delta for n in range(510)]


def test_an_empty_range_is_not_asked_for(fetch: Fetch) -> None:
    with StandInExchange() as exchange:
        assert fetch(exchange.url, START, START) == []
    assert exchange.requests == []


def test_iteration_stopped_early_ends_outstanding_requests(budget_file: Path) -> None:
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
        time.sleep(0.2)  # what was on the way arrives
        sent = len(exchange.requests)
        time.sleep(0.2)
        assert len(exchange.requests) == sent


def test_connections_are_used_again(fetch: Fetch) -> None:
    connections = set()

    def note(answer: http.HttpAnswer) -> http.HttpAnswer:
        connections.add(threading.current_thread())
        return answer

    with AlteredExchange(rate=None, change=note) as exchange:
        fetch(exchange.url, end=START + 70 * WINDOW)
    assert len(exchange.requests) == 70
    assert len(connections) < 50


# Faults

KINDS = ["500", "503", "429", "cut", "cut-body", "truncated", "html"]


def test_a_passing_fault_of_any_kind_changes_no_candle(fetch: Fetch) -> None:
    faults = dict(enumerate(KINDS, start=1))
    with StandInExchange(rate=None, faults=lambda n, *_: faults.get(n)) as faulty:
        found = fetch(faulty.url, end=START + 8 * WINDOW)
    with StandInExchange(rate=None) as flawless:
        assert candles(found) == candles(fetch(flawless.url, end=START + 8 * WINDOW))
    assert sorted(request.fault for request in faulty.requests) == sorted(8 * [""] + KINDS)
    assert sum(answer.requests for answer in found) == len(faulty.requests)


def test_many_faults_change_no_candle(fetch: Fetch) -> None:
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
        ("cut", ExchangeUnavailable, r"no answer from http://127\.0\.0\.1:"),
        ("cut-body", ExchangeUnavailable, r"no answer from http://127\.0\.0\.1:"),
        ("truncated", InvalidAnswer, r"not JSON: '\[\["),
        ("html", InvalidAnswer, "not JSON: '<html>"),
        ("429", RateLimited, "answered 429 .*Public rate limit exceeded"),
    ],
)
def test_giving_up_tells_what_was_asked_how_often_and_why_it_failed(
    fetch: Fetch, kind: str, error: type[ExchangeError], cause: str
) -> None:
    with (
        StandInExchange(rate=None, faults=lambda *_: kind) as exchange,
        pytest.raises(ExchangeError, match=cause) as failure,
    ):
        fetch(exchange.url, give_up_after=0.4)
    assert type(failure.value) is error
    attempts = len(exchange.requests)
    assert str(failure.value).startswith(f"{FIRST_WINDOW}, attempts {attempts}: ")


def test_giving_up_comes_after_the_time_given_and_not_before(fetch: Fetch) -> None:
    with StandInExchange(rate=None, faults=lambda *_: "500") as exchange:
        began = time.monotonic()
        with pytest.raises(ExchangeUnavailable):
            fetch(exchange.url, give_up_after=1.2)
    assert len(exchange.requests) >= 2
    assert time.monotonic() - began < 4


def test_the_error_names_the_window_that_failed(fetch: Fetch) -> None:
    def faults(number: int, product: str, params: Any) -> str | None:
        return "500" if params["end"].startswith("2024-01-01T14:59") else None

    with StandInExchange(rate=None, faults=faults) as exchange:
        named = "^BTC-USD:1m 2024-01-01T10:00:00Z to before 2024-01-01T15:00:00Z, "
        with pytest.raises(ExchangeUnavailable, match=named):
            fetch(exchange.url, end=START + DAY, give_up_after=0.1)


def test_waiting_for_the_budget_counts_as_no_failure(fetch: Fetch) -> None:
    with StandInExchange(rate=None, faults=lambda n, *_: "500" if n == 15 else None) as exchange:
        answers = fetch(exchange.url, end=START + 16 * WINDOW, give_up_after=1.2, budget=(10, 1))
    assert sum(answer.requests for answer in answers) == 17


def test_a_host_that_does_not_answer_is_named(fetch: Fetch) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(ExchangeUnavailable, match=f": no answer from {url} ") as failure:
        fetch(url, give_up_after=0.4)
    assert str(failure.value).startswith(f"{FIRST_WINDOW}, attempts ")


def test_an_unknown_product_is_asked_for_once(fetch: Fetch) -> None:
    with (
        StandInExchange() as exchange,
        pytest.raises(ProductNotFound, match="does not know the product NO-SUCH;") as failure,
    ):
        fetch(exchange.url, product="NO-SUCH")
    assert len(exchange.requests) == 1
    assert f"{exchange.url}/products lists" in str(failure.value)


def test_a_refused_request_is_sent_once(fetch: Fetch) -> None:
    with (
        StandInExchange(faults=lambda *_: "400") as exchange,
        pytest.raises(ExchangeError, match=r"answered 400 .*Bad request") as failure,
    ):
        fetch(exchange.url)
    assert type(failure.value) is ExchangeError
    assert str(failure.value).startswith(f"{FIRST_WINDOW}, attempts 1: ")
    assert len(exchange.requests) == 1


# The rate limit


def test_the_exchanges_limit_is_never_hit(fetch: Fetch) -> None:
    with StandInExchange(rate=10, burst=15) as exchange:
        assert len(fetch(exchange.url, end=START + 25 * WINDOW, budget=(10,))) == 25
    assert [request.status for request in exchange.requests] == [200] * 25


def test_retry_after_is_honoured(fetch: Fetch) -> None:
    faults = {0: "429"}
    with StandInExchange(retry_after=2, faults=lambda n, *_: faults.get(n)) as exchange:
        fetch(exchange.url)
    limited, repeated = (request.arrived for request in exchange.requests)
    assert 1.95 <= repeated - limited < 6


def test_a_date_to_retry_after_without_the_exchanges_own_is_a_second(fetch: Fetch) -> None:
    headers = {"Retry-After": "Mon, 01 Jan 2024 08:31:00 GMT", "Date": None}

    def undated(answer: http.HttpAnswer) -> http.HttpAnswer:
        return with_headers(**headers)(answer) if answer.status == 429 else answer

    faults = {0: "429"}
    with AlteredExchange(change=undated, faults=lambda n, *_: faults.get(n)) as exchange:
        fetch(exchange.url)
    limited, repeated = (request.arrived for request in exchange.requests)
    assert repeated - limited >= 0.95


def test_a_429_holds_back_every_process(fetch: Fetch, budget_file: Path) -> None:
    async def another_process(url: str) -> None:
        await asyncio.wait_for(
            RequestBudget(BudgetFile(budget_file), url, 1000).wait(), timeout=0.3
        )

    with StandInExchange(retry_after=30, faults=lambda *_: "429") as exchange:
        with pytest.raises(RateLimited):
            fetch(exchange.url, give_up_after=20)  # less than the exchange asks for
        assert len(exchange.requests) == 1
        with pytest.raises(TimeoutError):
            asyncio.run(another_process(exchange.url))


def resource(url: str, budget_file: Path, rate: float) -> ExchangeResource:
    return ExchangeResource(
        api_url=url, requests_per_second=rate, give_up_after=10, budget_path=str(budget_file)
    )


def answered(exchange: ExchangeResource, windows: int = 1, **options: Any) -> int:
    """How many answers a client of its own gets."""
    series = Series("BTC-USD", MINUTE)
    with exchange.get_client(**options) as client:
        return len(list(client.fetch_candles(series, START, START + windows * WINDOW)))


def test_urgent_clients_among_others_never_hit_the_exchanges_limit(budget_file: Path) -> None:
    with StandInExchange(rate=10, burst=15) as exchange, ThreadPoolExecutor() as threads:
        shared = resource(exchange.url, budget_file, rate=10)
        backfills = [threads.submit(answered, shared, 15) for _ in range(3)]
        assert [answered(shared, 2, urgent=True) for _ in range(5)] == [2] * 5
        assert [backfill.result() for backfill in backfills] == [15] * 3
    assert [request.status for request in exchange.requests] == [200] * 55


def test_an_urgent_client_does_not_wait_for_others(budget_file: Path) -> None:
    with StandInExchange() as exchange:
        shared = resource(exchange.url, budget_file, rate=0.05)
        assert answered(shared, BURST - HEADROOM) == BURST - HEADROOM
        began = time.monotonic()
        assert answered(shared, urgent=True) == 1
    assert time.monotonic() - began < 15  # another one would wait for 20 s


def test_a_client_can_give_up_earlier_than_others(budget_file: Path) -> None:
    with StandInExchange(rate=None, faults=lambda *_: "500") as exchange:
        with pytest.raises(ExchangeUnavailable):
            answered(resource(exchange.url, budget_file, rate=1000), give_up_after=0)
        assert len(exchange.requests) == 1


# Empty answers


def test_a_spurious_empty_answer_is_not_believed(fetch: Fetch, right: pa.Table) -> None:
    with StandInExchange(faults=lambda number, *_: None if number else "empty") as exchange:
        (answer,) = fetch(exchange.url)
    assert answer.candles == right
    assert answer.requests == len(exchange.requests) == 2


@pytest.mark.parametrize("granularity", Granularity)
def test_an_empty_answer_is_believed_when_another_url_gives_it_too(
    fetch: Fetch, granularity: Granularity
) -> None:
    with StandInExchange(markets={"NEW-USD": ListMarket({})}) as exchange:
        end = START + 300 * granularity.delta
        (answer,) = fetch(exchange.url, START - DAY, end - DAY, granularity, product="NEW-USD")
    first, second = (request.params for request in exchange.requests)
    assert first != second
    assert answer.candles.num_rows == 0
    assert answer.requests == 2


def test_an_empty_answer_need_not_be_confirmed(budget_file: Path) -> None:
    series = Series("NEW-USD", MINUTE)
    with (
        StandInExchange(markets={"NEW-USD": ListMarket({})}) as exchange,
        resource(exchange.url, budget_file, rate=1000).get_client() as client,
    ):
        (answer,) = client.fetch_candles(series, START, START + WINDOW, confirm_empty=False)
    assert answer.candles.num_rows == 0
    assert len(exchange.requests) == answer.requests == 1


# Time


@pytest.mark.parametrize("year", [2024, 2100])
def test_the_exchanges_clock_tells_what_is_closed(fetch: Fetch, year: int) -> None:
    start, clock = START.replace(year=year), Clock(NOW.replace(year=year))
    with StandInExchange(clock=clock, markets={"BTC-USD": full_market(start)}) as exchange:
        answers = fetch(exchange.url, start, start + DAY)
    times = candles(answers)["time"].to_pylist()
    assert times == [start + n * MINUTE.delta for n in range(510)]
    assert answers[-1].as_of == clock.now
    assert answers[-1].answered_through == start + timedelta(hours=8, minutes=30)


@pytest.mark.parametrize("hours", [-5, 5])
def test_a_wrong_clock_of_the_machine_changes_nothing(fetch: Fetch, hours: int) -> None:
    market, mine = full_market(), Clock(NOW + hours * HOUR)
    with StandInExchange(clock=Clock(), markets={"BTC-USD": market}) as exchange:
        answers = fetch(exchange.url, end=START + DAY, clock=mine)
    assert candles(answers).num_rows == 510
    assert len(exchange.requests) == 2  # the windows from 10:00 on lie in the future


def test_a_clock_set_back_meanwhile_leaves_no_window_out(budget_file: Path) -> None:
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


def test_of_a_range_in_the_future_the_first_window_is_asked_for_once(fetch: Fetch) -> None:
    with StandInExchange(clock=Clock()) as exchange:
        (answer,) = fetch(exchange.url, START + DAY, START + 3 * DAY, clock=Clock())
    assert len(exchange.requests) == answer.requests == 1
    assert answer.candles.num_rows == 0
    assert answer.answered_through == START + DAY


def test_a_clock_years_ahead_makes_no_answer_of_the_future(fetch: Fetch) -> None:
    with StandInExchange(clock=Clock(), markets={"BTC-USD": full_market()}) as exchange:
        answers = fetch(exchange.url, end=START + 3 * DAY, clock=Clock(NOW + 700 * DAY))
    assert candles(answers).num_rows == 510
    assert [answer.window.start for answer in answers] == [START, START + WINDOW]


@pytest.mark.parametrize("cdn_date", ["now", "origin"])
def test_a_cached_answer_is_as_old_as_its_candles(
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
def test_a_live_request_is_answered_by_no_cache(fetch: Fetch, hour: int, seconds: int) -> None:
    clock, market = Clock(START + hour * HOUR), full_market()
    with StandInExchange(cache_seconds=300, clock=clock, markets={"BTC-USD": market}) as exchange:
        fetch(exchange.url, end=START + DAY, clock=clock)
        clock.now += timedelta(seconds=seconds)
        live = fetch(exchange.url, end=START + DAY, clock=clock)[-1]
    assert live.as_of == clock.now
    assert live.candles["time"][-1].as_py() >= clock.now - 2 * MINUTE.delta


@pytest.mark.usefixtures("new_york")
def test_a_date_in_the_old_form_is_utc(fetch: Fetch) -> None:
    with AlteredExchange(change=with_headers(Date="Mon Jan  1 08:30:30 2024")) as exchange:
        assert fetch(exchange.url)[0].as_of == NOW


# Refused answers


@pytest.mark.parametrize(
    ("rows", "refusal"),
    [
        ([row(1, low=5)], "row 2024-01-01T00:01:00Z .*: low never exceeds high"),
        ([row(1, close=9)], "row 2024-01-01T00:01:00Z .*: close lies between low and high"),
        ([row(1, volume=float("nan"))], "row 2024-01-01T00:01:00Z .*: every value is finite"),
        ([row(1, high="4")], r"row \[1704067260, 1, '4', 2, 3, 5\]: '4' is not a number"),
        ([row(1)[:5]], r"row \[1704067260, 1, 4, 2, 3\]: not 6 values"),
        ([row(300)], "row 2024-01-01T05:00:00Z .*: time is before 2024-01-01T05:00:00Z"),
        ([row(1), row(1, close=2)], "row 2024-01-01T00:01:00Z .*: time is unique and ascending"),
        ([row(5 * n) for n in range(60)], "all 60 rows from 2024-01-01T00:00:00Z .* 5m grid"),
        ([row(1, time=1_704_067_260_000)], "row "),
        ([row(1, volume=10**400)], "row "),
    ],
)
def test_an_answer_that_breaks_a_rule_is_refused_at_once(
    fetch: Fetch, rows: list[Any], refusal: str
) -> None:
    with (
        AlteredExchange(change=with_rows(*rows)) as exchange,
        pytest.raises(InvalidAnswer, match=refusal) as failure,
    ):
        fetch(exchange.url)
    assert str(failure.value).startswith(f"{FIRST_WINDOW}, attempts 1: ")
    assert str(failure.value).endswith("; nothing of this answer is stored")
    assert len(exchange.requests) == 1


def test_candles_of_a_finer_granularity_are_refused_at_once(fetch: Fetch) -> None:
    with (
        AlteredExchange(change=with_rows(row(0), row(1), row(2))) as exchange,
        pytest.raises(InvalidAnswer, match=r"00:01:00Z .*: time lies on the 15m grid"),
    ):
        fetch(exchange.url, START, START + DAY, Granularity.FIFTEEN_MINUTES)
    assert len(exchange.requests) == 1


@pytest.mark.parametrize("body", [b"", b"null", b'{"message":"Bad Gateway"}', b"\xff", b"0"])
def test_an_answer_without_a_list_of_candles_is_refused(fetch: Fetch, body: bytes) -> None:
    with (
        AlteredExchange(change=lambda answer: replace(answer, body=body)) as exchange,
        pytest.raises(InvalidAnswer, match=r": not (JSON|a list of candles): ") as failure,
    ):
        fetch(exchange.url, give_up_after=0.1)
    assert str(failure.value).startswith(FIRST_WINDOW)


@pytest.mark.parametrize(
    "headers",
    [
        {"Date": None},
        {"Date": "yesterday"},
        {"Date": "Mon, 32 Jan 2024 00:00:00 GMT"},
        {"Age": "young"},
        {"Age": "-300"},
        {"Age": "9" * 30},
    ],
)
def test_an_answer_without_a_time_is_refused(fetch: Fetch, headers: dict[str, str]) -> None:
    with (
        AlteredExchange(change=with_headers(**headers)) as exchange,
        pytest.raises(InvalidAnswer, match="no usable Date header") as failure,
    ):
        fetch(exchange.url, give_up_after=0.1)
    assert str(failure.value).startswith(FIRST_WINDOW)


# The list of products


def products(url: str, budget_file: Path, give_up_after: float = 10) -> Catalogue:
    shared = resource(url, budget_file, rate=1000)
    with shared.get_client(give_up_after=give_up_after) as client:
        return client.fetch_products()


def test_the_products_come_in_order_with_the_exchanges_own_values(budget_file: Path) -> None:
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


def test_a_cached_list_of_products_is_as_old_as_it_was_made(budget_file: Path) -> None:
    clock = Clock()
    with StandInExchange(clock=clock, cache_seconds=5) as exchange:
        products(exchange.url, budget_file)
        clock.now += timedelta(seconds=4)
        cached = products(exchange.url, budget_file)
    assert cached.as_of == NOW - timedelta(seconds=1)


@pytest.mark.parametrize("kind", [*KINDS, "empty"])
def test_the_products_survive_a_passing_fault(budget_file: Path, kind: str) -> None:
    with StandInExchange(faults=lambda number, *_: None if number else kind) as exchange:
        catalogue = products(exchange.url, budget_file)
    assert catalogue.products.num_rows == 8
    assert catalogue.requests == len(exchange.requests) == 2


def test_the_products_wait_for_the_shared_budget(budget_file: Path) -> None:
    with StandInExchange() as exchange:
        asyncio.run(RequestBudget(BudgetFile(budget_file), exchange.url, 1000).pause(0.5))
        began = time.monotonic()
        products(exchange.url, budget_file)
    assert time.monotonic() - began > 0.4


@pytest.mark.parametrize(
    ("kind", "error", "cause"),
    [
        ("500", ExchangeUnavailable, "answered 500 "),
        ("429", RateLimited, "answered 429 "),
        ("404", ExchangeError, "answered 404 .* to http://.*/products$"),
        ("html", InvalidAnswer, "not JSON: '<html>"),
        ("empty", InvalidAnswer, "a list without a product$"),
    ],
)
def test_giving_up_on_the_products_tells_why(
    budget_file: Path, kind: str, error: type[ExchangeError], cause: str
) -> None:
    with (
        StandInExchange(rate=None, faults=lambda *_: kind) as exchange,
        pytest.raises(ExchangeError, match=cause) as failure,
    ):
        products(exchange.url, budget_file, give_up_after=0.2)
    assert type(failure.value) is error
    attempts = len(exchange.requests)
    assert str(failure.value).startswith(f"list of products, attempts {attempts}: ")


@pytest.mark.parametrize(
    ("rows", "refusal"),
    [
        (["ETH-EUR"], "entry 0: 'ETH-EUR' is no object"),
        ([{"id": "A-B"}, None], "entry 1: None is no object"),
        ([{"id": "A-B"}, {"status": "online"}], "entry 1: {'status': 'online'} has no id"),
        ([{"id": ""}], "entry 0: {'id': ''} has no id"),
        ([{"id": 7}], "product 7: id 7 is no string"),
        ([{"id": "A-B"}, {"id": "C-D"}, {"id": "A-B"}], "product 'A-B': its id is not unique"),
        ([{"id": "A-B", "quote_increment": 0.01}], "product 'A-B': quote_increment 0.01 is no str"),
        ([{"id": "A-B", "trading_disabled": "no"}], "'A-B': trading_disabled 'no' is no bool"),
    ],
)
def test_a_list_of_products_that_breaks_a_rule_is_refused_at_once(
    budget_file: Path, rows: list[Any], refusal: str
) -> None:
    with (
        AlteredExchange(change=with_rows(*rows)) as exchange,
        pytest.raises(InvalidAnswer, match=refusal) as failure,
    ):
        products(exchange.url, budget_file)
    assert str(failure.value).startswith("list of products, attempts 1: ")
    assert len(str(failure.value).splitlines()) == 1
    assert len(exchange.requests) == 1


def test_what_the_exchange_says_of_a_product_may_be_more_or_less(budget_file: Path) -> None:
    with AlteredExchange(change=with_rows({"id": "A-B", "status": None, "new": [1]})) as exchange:
        (product,) = products(exchange.url, budget_file).products.to_pylist()
    assert product == dict.fromkeys(PRODUCT_SCHEMA.names) | {"id": "A-B"}
