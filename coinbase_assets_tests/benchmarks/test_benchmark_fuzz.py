"""The fuzz of the exchange client: its good answers are accepted, its counts find what is wrong."""

import asyncio
import random

import pytest

from benchmarks import fuzz
from benchmarks.fuzz import NOW
from benchmarks.fuzz_answers import good_answers, mutated, parts_of


def test_mutated_answers_are_accepted_right_or_refused() -> None:
    counts, _ = asyncio.run(fuzz.fuzz(150, seed=1))
    assert counts.total() == 150
    assert counts["accepted"] > 10
    assert counts["refused: InvalidAnswer"] > 30
    assert not [outcome for outcome in counts if outcome.startswith(("WRONG", "UNDECLARED"))]


def test_the_same_seed_gives_the_same_answers() -> None:
    good = good_answers()[0]
    first, again = (mutated(good, random.Random("a")) for _ in range(2))
    assert first == again
    assert b"".join(parts_of(first, random.Random("b"))) == first


@pytest.mark.parametrize("kind", ["candles", "trades", "products"])
def test_good_answers_are_accepted(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def whole(good: fuzz.Good, _: random.Random) -> bytes:
        head = f"HTTP/1.1 200 OK\r\nDate: {NOW:%a, %d %b %Y %H:%M:%S GMT}\r\n"
        return f"{head}Content-Length: {len(good.body)}\r\n\r\n".encode() + good.body

    goods = [good for good in good_answers() if good.kind == kind]
    monkeypatch.setattr(fuzz, "good_answers", lambda: goods)
    monkeypatch.setattr(fuzz, "mutated", whole)
    counts, _ = asyncio.run(fuzz.fuzz(10))
    assert counts == {"accepted": 10}
