"""Answers that the client refuses, and the time of an answer."""

from dataclasses import replace
from typing import Any

import pytest

from coinbase_assets.candles.series import Granularity
from coinbase_assets.exchange.errors import (
    InvalidAnswer,
)
from coinbase_assets_tests.exchange.conftest import (
    DAY,
    FIRST_WINDOW,
    NOW,
    START,
    AlteredExchange,
    Clock,
    Fetch,
    row,
    with_headers,
    with_rows,
)


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
def test_parse_candles_response_refuses_broken_rule(
    fetch: Fetch, rows: list[Any], refusal: str
) -> None:
    with (
        AlteredExchange(change=with_rows(*rows)) as exchange,
        pytest.raises(InvalidAnswer, match=refusal) as failure,
    ):
        fetch(exchange.url)
    assert str(failure.value).startswith(f"{FIRST_WINDOW}, attempt 1: ")
    assert str(failure.value).endswith("; nothing of this answer is stored")
    assert len(exchange.requests) == 1


def test_parse_candles_response_refuses_finer_granularity(fetch: Fetch) -> None:
    with (
        AlteredExchange(change=with_rows(row(0), row(1), row(2))) as exchange,
        pytest.raises(InvalidAnswer, match=r"00:01:00Z .*: time lies on the 15m grid"),
    ):
        fetch(exchange.url, START, START + DAY, Granularity.FIFTEEN_MINUTES)
    assert len(exchange.requests) == 1


@pytest.mark.parametrize("body", [b"", b"null", b'{"message":"Bad Gateway"}', b"\xff", b"0"])
def test_parse_candles_response_refuses_missing_list(fetch: Fetch, body: bytes) -> None:
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
def test_exchange_time_refuses_unusable_date(fetch: Fetch, headers: dict[str, str]) -> None:
    with (
        AlteredExchange(change=with_headers(**headers)) as exchange,
        pytest.raises(InvalidAnswer, match="no usable Date header") as failure,
    ):
        fetch(exchange.url, give_up_after=0.1)
    assert str(failure.value).startswith(FIRST_WINDOW)


@pytest.mark.usefixtures("new_york")
def test_exchange_time_reads_old_form_as_utc(fetch: Fetch) -> None:
    old_form = with_headers(Date="Mon Jan  1 08:30:30 2024")
    with AlteredExchange(clock=Clock(), change=old_form) as exchange:
        assert fetch(exchange.url, clock=Clock())[0].as_of == NOW
