"""Whatever the exchange answers: an ExchangeError of one bounded line, and nothing is stored."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from coinbase_assets.candles.series import is_product
from coinbase_assets.exchange.budget import RequestBudget
from coinbase_assets.exchange.budget_stores import BudgetFile
from coinbase_assets.exchange.client import ExchangeClient
from coinbase_assets.exchange.errors import ExchangeError
from coinbase_assets_tests.exchange.conftest import NOW, Clock
from coinbase_assets_tests.hostile_strings import HOSTILE, assert_plain
from coinbase_assets_tests.stand_in.answers import HttpAnswer, error_answer, json_answer
from coinbase_assets_tests.stand_in.exchange import LOOPBACK, StandInExchange

PRODUCT = {"id": "A-B", "base_currency": "A", "status": "online"}
DATED = {"Date": f"{NOW:%a, %d %b %Y %H:%M:%S GMT}"}


@dataclass(kw_only=True)
class HostileExchange(StandInExchange):
    """A stand-in exchange that gives these answers, one after the other."""

    answers: list[HttpAnswer]
    rate: float | None = None
    _next: Iterator[HttpAnswer] = field(init=False, repr=False)

    def __enter__(self) -> "HostileExchange":
        self._next = iter(self.answers)
        return super().__enter__()

    def answer(self, target: str, address: str = LOOPBACK) -> tuple[HttpAnswer, float]:
        return next(self._next).with_headers(DATED), 0.0


def errors_of(answers: list[HttpAnswer], budget_file: Path) -> list[str]:
    """Return the messages with which each of the answers is refused."""

    async def ask(url: str) -> Iterator[str]:
        budget = RequestBudget(BudgetFile(budget_file), url, 10_000, 10_000)
        messages = []
        async with ExchangeClient(url, budget, 0.001, Clock()) as client:
            for _ in answers:
                with pytest.raises(ExchangeError) as refused:
                    await client.fetch_products()
                messages.append(str(refused.value))
        return iter(messages)

    with HostileExchange(answers=answers) as exchange:
        return list(asyncio.run(ask(exchange.url)))


def assert_lines(messages: list[str]) -> None:
    for message in messages:
        assert "\n" not in message
        assert_plain(message)
        assert len(message) < 500


def test_hostile_error_answers_are_lines(budget_file: Path) -> None:
    answers = [error_answer(400 + n % 2 * 100, text) for n, text in enumerate(HOSTILE)]
    messages = errors_of(answers, budget_file)
    assert_lines(messages)
    assert len(messages) == len(HOSTILE)


def test_hostile_bodies_are_lines(budget_file: Path) -> None:
    bodies = [text.encode(errors="surrogatepass") for text in HOSTILE]
    assert_lines(errors_of([HttpAnswer(200, body) for body in bodies], budget_file))


@pytest.mark.parametrize("name", ["id", "display_name"])
def test_hostile_products_are_refused(budget_file: Path, name: str) -> None:
    texts = [
        text for text in HOSTILE if not (name != "id" and text.isprintable() and len(text) <= 100)
    ]
    assert len(texts) > 60
    assert not any(map(is_product, texts))
    products = [[PRODUCT, PRODUCT | {"id": "C-D", name: text}] for text in texts]
    messages = errors_of([json_answer(200, rows) for rows in products], budget_file)
    assert_lines(messages)
    for text, message in zip(texts, messages, strict=True):
        assert "entry 1" in message
        assert name in message or not text
