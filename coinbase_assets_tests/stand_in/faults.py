"""Faults of the stand-in exchange's answers, by name, and which requests have them."""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from coinbase_assets_tests.stand_in.answers import (
    NOT_FOUND,
    HttpAnswer,
    candles_answer,
    error_answer,
)

Faults = Callable[[int, str, Mapping[str, str]], str | None]
"""(request number from 0, product, query) -> a key of REPLACED or DAMAGED, or None."""
RATE_LIMITED = error_answer(429, "Public rate limit exceeded")
HTML = {"Content-Type": "text/html", "Cache-Control": "no-store"}
REPLACED = {
    "400": error_answer(400, "Bad request"),
    "404": NOT_FOUND,
    "429": RATE_LIMITED,
    "500": error_answer(500, "Internal server error"),
    "503": error_answer(503, "Service unavailable"),
    "cut": HttpAnswer(0, b"", sent=0),
    "empty": candles_answer([]),
    "html": HttpAnswer(200, b"<html><body>Just a moment...</body></html>", HTML),
}
"""Faults that replace the right answer."""


def _without_middle(answer: HttpAnswer) -> HttpAnswer:
    """Return the answer without the middle third of its rows."""
    rows = json.loads(answer.body)
    third = len(rows) // 3
    return candles_answer(rows[:third] + rows[2 * third :])


DAMAGED: dict[str, Callable[[HttpAnswer], HttpAnswer]] = {
    "": lambda answer: answer,
    "slow": lambda answer: answer,
    "middle": _without_middle,
    "cut-body": lambda answer: replace(answer, sent=len(answer.body) // 2),
    "truncated": lambda answer: replace(answer, body=answer.body[: len(answer.body) // 2]),
}
"""Faults that change the right answer."""


def random_faults(
    share: float,
    seed: int = 0,
    kinds: Sequence[str] = ("500", "503", "cut", "cut-body", "truncated", "html"),
) -> Faults:
    """Return faults for a share of the requests; the same seed gives the same faults."""

    def choose(number: int, product: str, params: Mapping[str, str]) -> str | None:
        draw = random.Random(f"{seed}/{number}")
        return draw.choice(kinds) if draw.random() < share else None

    return choose
