"""Halts of the exchange, found in the ledgers of several series."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from coinbase_assets.candles.calendar import month_range
from coinbase_assets.candles.series import Series
from coinbase_assets.completeness.halts import HALT_SCHEMA, find_halts
from coinbase_assets.completeness.hole_statistics import runs
from coinbase_assets.completeness.ledger import COVERAGE_SCHEMA, State

MINUTE = timedelta(minutes=1)
Span = tuple[str, str]
MARCH, OCTOBER = ("2023-03-04T17:00", "2023-03-04T21:36"), ("2025-10-25T15:15", "2025-10-25T20:55")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def ledger(
    series: str,
    *untraded: Span,
    quiet: float = 0.0,
    others: Mapping[State, Iterable[Span]] | None = None,
    month: str = "2023-03",
) -> tuple[Series, pa.Table]:
    """Return the ledger of a month in which nothing was traded in these spans.

    Of the other minutes, the share `quiet` was not traded either. `others` are spans in other
    states. A bucket is traded if a minute of it is.
    """
    parsed, (start, end) = Series.parse(series), month_range(month)
    random = np.random.default_rng(list(series.encode()))
    traded = random.random((end - start) // MINUTE) >= quiet
    for first, last in untraded:
        traded[(at(first) - start) // MINUTE : (at(last) - start) // MINUTE] = False
    step = parsed.granularity.delta
    codes = traded.reshape(-1, step // MINUTE).any(axis=1).astype(int)
    states = [State.NO_TRADES, State.TRADED]
    for state, spans in (others or {}).items():
        for first, last in spans:
            codes[(at(first) - start) // step : (at(last) - start) // step] = len(states)
        states.append(state)
    rows = [
        (start + a * step, start + b * step, b - a, states[codes[a]].value, "so it is")
        for a, b in runs(codes)
    ]
    columns: Sequence[Sequence[object]] = list(zip(*rows, strict=True))
    return parsed, pa.table([list(column) for column in columns], COVERAGE_SCHEMA)


def halts(*ledgers: tuple[Series, pa.Table]) -> list[tuple[str, str, str]]:
    found = find_halts(dict(ledgers))
    assert found.schema.equals(HALT_SCHEMA)
    return [
        (f"{row['start']:%FT%R}", f"{row['end']:%FT%R}", row["series"]) for row in found.to_pylist()
    ]


# Real halts


@pytest.mark.parametrize(("halt", "month"), [(MARCH, "2023-03"), (OCTOBER, "2025-10")])
@pytest.mark.parametrize("granularity", ["1m", "5m", "15m", "1h"])
def test_halts_real_ones_found(halt: Span, month: str, granularity: str) -> None:
    names = [f"{product}:{granularity}" for product in ("BTC-EUR", "BTC-USD", "ETH-EUR")]
    quiet = (0.10, 0.01, 0.07)
    found = halts(
        *(ledger(n, halt, quiet=q, month=month) for n, q in zip(names, quiet, strict=True))
    )
    step = Series.parse(names[0]).granularity.delta
    start = at(halt[0]) + (at("2000-01-01") - at(halt[0])) % step
    end = at(halt[1]) - (at(halt[1]) - at("2000-01-01")) % step
    ((first, last, series),) = found
    assert series == ", ".join(names)
    # Buckets that are quiet in all products may adjoin the halt.
    assert start - step < at(first) <= start
    assert end <= at(last) < end + 2 * step


@pytest.mark.parametrize(("halt", "month"), [(MARCH, "2023-03"), (OCTOBER, "2025-10")])
def test_halts_end_as_in_finest_series(halt: Span, month: str) -> None:
    names = ["BTC-USD:1h", "ETH-EUR:15m", "LTC-USD:1m", "SOL-USD:6h", "XRP-USD:1d"]
    found = halts(*(ledger(name, halt, month=month) for name in names))
    assert found == [(*halt, "BTC-USD:1h, ETH-EUR:15m, LTC-USD:1m")]


def test_halts_end_where_a_series_was_traded() -> None:
    longer = ("2023-03-04T16:58", "2023-03-04T21:40")
    assert halts(ledger("BTC-USD:1m", MARCH), ledger("ETH-EUR:1m", longer)) == [
        (*MARCH, "BTC-USD:1m, ETH-EUR:1m")
    ]
    assert halts(ledger("BTC-USD:1m", longer), ledger("ETH-EUR:1m", MARCH)) == [
        (*MARCH, "BTC-USD:1m, ETH-EUR:1m")
    ]


def test_halts_found_once_and_in_order() -> None:
    spans = [MARCH, ("2023-03-01T00:00", "2023-03-01T01:00"), ("2023-03-31T23:00", "2023-04-01")]
    found = halts(ledger("BTC-USD:1m", *spans), ledger("BTC-EUR:15m", *spans))
    assert [start for start, _, _ in found] == [
        "2023-03-01T00:00",
        "2023-03-04T17:00",
        "2023-03-31T23:00",
    ]


# Silences that are no halt


@pytest.mark.parametrize(
    "names",
    [
        ["BTC-USD:1m"],
        ["BTC-USD:1m", "BTC-USD:15m"],
        ["BTC-USD:1m", "BTC-USDC:1m"],
        ["BTC-USD:1m", "ETH-EUR:1d"],
        [],
    ],
)
def test_halts_need_two_order_books(names: list[str]) -> None:
    assert halts(*(ledger(name, MARCH) for name in names)) == []


def test_halts_found_if_a_product_has_two_series() -> None:
    found = halts(*(ledger(name, MARCH) for name in ("BTC-USD:1m", "BTC-USD:1h", "ETH-EUR:1h")))
    assert found == [(*MARCH, "BTC-USD:1h, BTC-USD:1m, ETH-EUR:1h")]


@pytest.mark.parametrize("granularity", ["1m", "15m", "1h"])
def test_halts_contradicted_by_traded_product(granularity: str) -> None:
    hole = ("2023-03-04T17:00", "2023-03-04T21:00")
    shared = [ledger("BTC-USD:1m", hole), ledger("ETH-EUR:1m", hole)]
    assert halts(*shared, ledger("LTC-USD:1m", hole)) != []
    assert halts(*shared, ledger(f"LTC-USD:{granularity}")) == []


@pytest.mark.parametrize("granularity", ["6h", "1d"])
def test_halts_not_contradicted_by_trades_outside(granularity: str) -> None:
    holes = [ledger("BTC-USD:1m", MARCH), ledger("ETH-EUR:1m", MARCH)]
    assert halts(*holes, ledger(f"LTC-USD:{granularity}"))[0][:2] == MARCH


def test_halts_split_by_trades_in_the_middle() -> None:
    parts = [("2023-03-04T17:00", "2023-03-04T19:00"), ("2023-03-04T19:01", "2023-03-04T21:36")]
    found = halts(ledger("BTC-USD:1m", MARCH), ledger("ETH-EUR:1m", *parts))
    assert found == [(*part, "BTC-USD:1m, ETH-EUR:1m") for part in parts]


def test_halts_shorter_than_15_minutes_left_out() -> None:
    parts = [("2023-03-04T17:00", "2023-03-04T17:14"), ("2023-03-04T17:15", "2023-03-04T17:30")]
    whole = ("2023-03-04T17:00", "2023-03-04T17:30")
    found = halts(ledger("BTC-USD:1m", whole), ledger("ETH-EUR:1m", *parts))
    assert [span[:2] for span in found] == [parts[1]]


def test_halts_need_confirmed_holes() -> None:
    unconfirmed = {State.UNCONFIRMED: [("2018-04-04T16:49", "2018-04-05")]}
    hole = ("2018-04-04T16:49", "2018-04-05")
    shared = [ledger(name, hole, month="2018-04") for name in ("LTC-USD:1m", "ETH-USD:1m")]
    assert halts(*shared, ledger("BTC-EUR:1m", others=unconfirmed, month="2018-04")) == []
    assert len(halts(*shared, ledger("BTC-EUR:1m", hole, month="2018-04"))) == 1


def test_halts_need_unusual_holes() -> None:
    hole = ("2023-03-04T17:00", "2023-03-04T17:20")
    sure, thin = ledger("BTC-USD:1m", hole), ledger("XRP-EUR:1m", hole, quiet=0.7)
    assert halts(sure, thin) == []
    assert halts(sure, thin, ledger("ETH-EUR:1m", hole, quiet=0.1)) == [
        (*hole, "BTC-USD:1m, ETH-EUR:1m")
    ]


def test_halts_none_by_chance() -> None:
    names = ["BTC-EUR:1m", "ETH-EUR:1m", "LTC-EUR:5m", "XRP-EUR:15m"]
    assert halts(*(ledger(name, quiet=0.5) for name in names)) == []


@pytest.mark.parametrize(
    "state", [State.NOT_COLLECTED, State.OPEN, State.BEFORE_LISTING, State.AFTER_DELISTING]
)
def test_halts_ignore_product_without_answer(state: State) -> None:
    silent = ledger("LTC-USD:1m", others={state: [("2023-03-04", "2023-03-06")]})
    first, second = ledger("BTC-USD:1m", MARCH), ledger("ETH-EUR:1m", MARCH)
    assert halts(first, silent) == []
    assert halts(first, second, silent) == [(*MARCH, "BTC-USD:1m, ETH-EUR:1m")]


@pytest.mark.parametrize("granularity", ["1m", "15m"])
@pytest.mark.parametrize("known_first", [True, False])
def test_halts_only_where_product_is_answered(granularity: str, known_first: bool) -> None:
    part = ("2023-03-04T17:00", "2023-03-04T18:00")
    others = {State.NOT_COLLECTED: [("2023-03-04T18:00", "2023-03-05")]}
    ledgers = [ledger("BTC-USD:1m", MARCH), ledger(f"ETH-EUR:{granularity}", part, others=others)]
    found = halts(*(ledgers if known_first else ledgers[::-1]))
    assert found == [(*part, f"BTC-USD:1m, ETH-EUR:{granularity}")]


def test_halts_ignore_product_never_traded() -> None:
    month = ("2023-03-01", "2023-04-01")
    assert halts(ledger("BTC-USD:1m", MARCH), ledger("XRP-USD:1m", month)) == []
    assert halts(ledger("BTC-USD:1m", month), ledger("XRP-USD:1m", month)) == []
