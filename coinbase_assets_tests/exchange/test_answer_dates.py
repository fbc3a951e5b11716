"""Dates that cannot be right: confirmed by the exchange's clock once, or refused."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest

from coinbase_assets.exchange.answer_dates import DateCheck, exchange_time
from coinbase_assets.exchange.budget import RequestBudget
from coinbase_assets.exchange.budget_stores import BudgetFile
from coinbase_assets.exchange.client import ExchangeClient
from coinbase_assets.exchange.errors import (
    ExchangeError,
    ExchangeUnavailable,
    GarbledAnswer,
    InvalidAnswer,
    RateLimited,
    RequestRefused,
)
from coinbase_assets_tests.exchange.conftest import (
    DAY,
    HOUR,
    NOW,
    START,
    AlteredExchange,
    Clock,
    Fetch,
    full_market,
    with_headers,
)
from coinbase_assets_tests.stand_in.answers import HttpAnswer, error_answer, json_answer
from coinbase_assets_tests.stand_in.exchange import LOOPBACK, StandInExchange

AHEAD = NOW + 2 * DAY


def date_header(moment: datetime) -> str:
    return f"{moment:%a, %d %b %Y %H:%M:%S} GMT"


@dataclass(kw_only=True)
class TimelessExchange(StandInExchange):
    """A stand-in exchange that answers so when it is asked for its time."""

    time_given: HttpAnswer

    def tell_time(self, address: str = LOOPBACK) -> HttpAnswer:
        super().tell_time(address)
        return self.time_given


def wrong_date(moment: datetime = AHEAD) -> AlteredExchange:
    change = with_headers(Date=date_header(moment))
    return AlteredExchange(rate=None, clock=Clock(), change=change)


@pytest.mark.parametrize("moment", [AHEAD, NOW - 2 * DAY, NOW + 2 * HOUR])
def test_wrong_date_is_refused_and_both_clocks_are_named(fetch: Fetch, moment: datetime) -> None:
    with wrong_date(moment) as exchange, pytest.raises(InvalidAnswer) as refused:
        fetch(exchange.url, clock=Clock(), give_up_after=0.01)
    assert f"its Date {moment:%FT%TZ} is wrong: this machine's clock says" in str(refused.value)
    assert "2024-01-01T08:30:30Z, the exchange's 2024-01-01T08:30:3" in str(refused.value)
    assert len(exchange.requests) == len(exchange.time_requests) == 1


def test_wrong_date_of_one_answer_is_asked_again(fetch: Fetch) -> None:
    dates = iter([AHEAD])

    def change(answer: HttpAnswer) -> HttpAnswer:
        return with_headers(Date=date_header(next(dates, NOW)))(answer)

    with AlteredExchange(rate=None, clock=Clock(), change=change) as exchange:
        (answer,) = fetch(exchange.url, clock=Clock())
    assert answer.as_of == NOW
    assert answer.requests == 2


@pytest.mark.parametrize("off", [-700 * DAY, -2 * DAY, 2 * HOUR, 700 * DAY])
def test_wrong_clock_of_this_machine_costs_one_request(fetch: Fetch, off: timedelta) -> None:
    markets = {"BTC-USD": full_market(candles=20_000)}
    with StandInExchange(rate=None, clock=Clock(NOW + 12 * DAY), markets=markets) as exchange:
        clock = Clock(NOW + 12 * DAY + off)
        answers = fetch(exchange.url, end=START + 10 * DAY, clock=clock)
    assert len(answers) == len(exchange.requests) == 48
    assert len(exchange.time_requests) == 1


@pytest.mark.parametrize("off", [timedelta(), 59 * timedelta(minutes=1)])
def test_right_clock_of_this_machine_costs_no_request(fetch: Fetch, off: timedelta) -> None:
    with StandInExchange(clock=Clock()) as exchange:
        fetch(exchange.url, clock=Clock(NOW + off))
    assert exchange.time_requests == []


def test_asking_for_the_time_keeps_the_budget(budget_file: Path) -> None:
    class CountingBudget(RequestBudget):
        slots = 0

        async def wait(self) -> float:
            self.slots += 1
            return await super().wait()

    async def ask(exchange: StandInExchange) -> int:
        budget = CountingBudget(BudgetFile(budget_file), exchange.url, 1000)
        async with ExchangeClient(exchange.url, budget, clock=Clock(NOW + DAY)) as client:
            await client.fetch_products()
        return budget.slots

    with StandInExchange(clock=Clock()) as exchange:
        assert asyncio.run(ask(exchange)) >= 2
    assert len(exchange.requests) == len(exchange.time_requests) == 1


@pytest.mark.parametrize(
    ("time_given", "error", "cause"),
    [
        (error_answer(404, "NotFound"), InvalidAnswer, "does not tell its time: answered 404"),
        (error_answer(503, "later"), ExchangeUnavailable, "answered 503"),
        (error_answer(429, "slower"), RateLimited, "answered 429"),
        (json_answer(200, []), InvalidAnswer, r"does not tell its time: not a time: '\[\]'"),
        (json_answer(200, {"epoch": "1704097830"}), InvalidAnswer, "not a time"),
        (json_answer(200, {"epoch": float("nan")}), InvalidAnswer, "not a time"),
        (json_answer(200, {"epoch": 1e300}), InvalidAnswer, "not a time"),
        (json_answer(200, {"epoch": 10**400}), InvalidAnswer, "not a time"),
        (json_answer(200, {"epoch": 0}), InvalidAnswer, "not a time"),
        (HttpAnswer(200, b"[" * 100_000), InvalidAnswer, "more than 1 times"),
    ],
)
def test_exchange_without_usable_time_is_refused(
    fetch: Fetch, time_given: HttpAnswer, error: type[ExchangeError], cause: str
) -> None:
    with (
        TimelessExchange(clock=Clock(), time_given=time_given) as exchange,
        pytest.raises(ExchangeError, match=cause) as refused,
    ):
        fetch(exchange.url, clock=Clock(NOW + DAY), give_up_after=0.01)
    assert type(refused.value) is error


@pytest.mark.parametrize(
    "headers",
    [
        {"Date": "Mon, 01 Jan 0001 00:00:00 GMT"},
        {"Date": "Mon, 01 Jan 0001 00:00:00 GMT", "Age": "1"},
        {"Date": "Fri, 31 Dec 9999 23:59:59 GMT"},
        {"Date": "Sat, 31 Dec 2011 23:59:59 GMT"},
        {"Date": "Sat, 01 Jan 2101 00:00:00 GMT"},
        {"Date": "Mon, 01 Jan 2024 08:30:30 +0500"},
        {"Date": date_header(NOW), "Age": "9" * 5_000},
        {"Date": date_header(NOW), "Age": "\u0663"},
        {"Date": date_header(NOW), "Age": "1.5"},
        {"Date": date_header(NOW), "Age": str(20 * 366 * 86_400)},
    ],
)
def test_exchange_time_refuses_impossible_headers(headers: dict[str, str]) -> None:
    encoded = httpx.Headers({name.encode(): text.encode() for name, text in headers.items()})
    with pytest.raises(GarbledAnswer, match="no usable Date header"):
        exchange_time(encoded)


def test_date_check_asks_once_for_answers_at_the_same_time() -> None:
    asked = []

    async def ask() -> datetime:
        asked.append(1)
        await asyncio.sleep(0.05)
        return NOW

    async def refuse_all(dates: list[datetime]) -> list[object]:
        check = DateCheck(Clock(NOW + DAY), ask)
        tasks = [check.refuse_wrong(date) for date in dates]
        return await asyncio.gather(*tasks, return_exceptions=True)

    right, wrong = asyncio.run(refuse_all([NOW, AHEAD]))
    assert right is None
    assert isinstance(wrong, GarbledAnswer)
    assert len(asked) == 1


def test_date_check_trusts_the_exchange_from_then_on() -> None:
    """This machine's clock may agree with a wrong Date by chance."""

    def asking(*answers: datetime | ExchangeError) -> Callable[[], Awaitable[datetime]]:
        left = list(answers)

        async def ask() -> datetime:
            time_given = left.pop(0)
            if isinstance(time_given, ExchangeError):
                raise time_given
            return time_given

        return ask

    async def main() -> None:
        check = DateCheck(Clock(AHEAD), asking(NOW, NOW, NOW + 3 * HOUR))
        await check.refuse_wrong(NOW)
        with pytest.raises(GarbledAnswer, match=r"is wrong: this machine's clock says"):
            await check.refuse_wrong(AHEAD)
        # The machine slept for three hours, of which the monotonic clock knows nothing.
        await check.refuse_wrong(NOW + 3 * HOUR)
        refusing = DateCheck(Clock(AHEAD), asking(RequestRefused("no")))
        with pytest.raises(GarbledAnswer, match="does not tell its time: no"):
            await refusing.refuse_wrong(NOW)

    asyncio.run(main())
