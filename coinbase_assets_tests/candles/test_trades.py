"""Trades: what is read of an answer, what is refused, and the candles made of them."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from coinbase_assets.candles.series import Granularity
from coinbase_assets.candles.table import SCHEMA
from coinbase_assets.candles.trades import (
    TRADE_SCHEMA,
    InvalidTrades,
    fold_trades,
    parse_trades,
    trade_table,
)

START = datetime(2024, 1, 1, tzinfo=UTC)
MINUTE = Granularity.ONE_MINUTE


def row(number: int = 1, **changes: Any) -> dict[str, Any]:
    values = {"trade_id": number, "side": "buy", "size": "0.5", "price": "2.25"}
    return {"time": f"2024-01-01T00:00:{number % 60:02}.123456Z", **values, **changes}


def table(*trades: tuple[int, float, float, float]) -> pa.Table:
    """Return trades of these ids, seconds since START, prices and sizes."""
    return trade_table(
        [
            (number, START + timedelta(seconds=second), price, size)
            for number, second, price, size in trades
        ]
    )


# What is read


@pytest.mark.parametrize("rows", [[], [row()], [row(2), row(1)]])
def test_parse_trades_returns_the_schema(rows: list[Any]) -> None:
    assert parse_trades(rows).schema.equals(TRADE_SCHEMA, check_metadata=True)


def test_parse_trades_ascending_by_id() -> None:
    assert parse_trades([row(3), row(1), row(2)])["id"].to_pylist() == [1, 2, 3]


def test_parse_trades_reads_values() -> None:
    time = datetime(2024, 1, 1, 0, 0, 1, 123456, UTC)
    expected = [{"id": 1, "time": time, "price": 2.25, "size": 0.5}]
    assert parse_trades([row()]).to_pylist() == expected


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-01T00:00:01.123456Z",
        "2024-01-01 00:00:01.123456+00",
        "2024-01-01T01:00:01.123456+01:00",
        "2024-01-01T00:00:01.123456789Z",
    ],
)
def test_parse_trades_reads_times(text: str) -> None:
    assert parse_trades([row(time=text)]) == parse_trades([row()])


def test_parse_trades_drops_exact_repeats() -> None:
    assert parse_trades([row(2), row(1), row(2)]) == parse_trades([row(1), row(2)])


def test_parse_trades_ignores_unknown_values() -> None:
    assert parse_trades([row(side=None, more=[1])]) == parse_trades([row()])


# What is refused


@pytest.mark.parametrize("change", [{"price": "2.5"}, {"size": "1"}, {"time": row(2)["time"]}])
def test_parse_trades_refuses_contradictory_repeats(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidTrades, match="another row has the id 7, but other values"):
        parse_trades([row(7), row(8), row(7) | change])


@pytest.mark.parametrize("broken", [None, 1, "x", [], [1, 2, 3, 4]])
def test_parse_trades_refuses_other_shapes(broken: Any) -> None:
    with pytest.raises(InvalidTrades, match="not an object with named values"):
        parse_trades([row(), broken])


@pytest.mark.parametrize("name", ["trade_id", "time", "price", "size"])
def test_parse_trades_refuses_missing_values(name: str) -> None:
    with pytest.raises(InvalidTrades, match=f"has no {name}"):
        parse_trades([{key: value for key, value in row().items() if key != name}])


@pytest.mark.parametrize("number", [0, -1, 1.0, "1", True, None, 2**53 + 1, 10**400])
def test_parse_trades_refuses_ids(number: Any) -> None:
    with pytest.raises(InvalidTrades, match=r"trade_id .* is not a whole number from 1"):
        parse_trades([row(trade_id=number)])


@pytest.mark.parametrize("name", ["price", "size"])
@pytest.mark.parametrize(
    "text",
    [
        *(1, 2.5, None, True, "", "0", "0.0", "-1", "nan", "inf", "1e99999", "0e9"),
        *(" 1", "1\n", "1_0", "0x1", "1,5", "1" * 500, "\N{ARABIC-INDIC DIGIT ONE}"),
    ],
)
def test_parse_trades_refuses_numbers(name: str, text: Any) -> None:
    with pytest.raises(InvalidTrades, match=f"row .*: {name} .* is not a positive number"):
        parse_trades([row(**{name: text})])


@pytest.mark.parametrize(
    "text",
    [
        *(None, 1704067200, "", "now", "2024-01-01", "2024-01-01T00:00:01", "2024-13-01T00:00:01Z"),
        *("1969-12-31T23:59:59Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"),
    ],
)
def test_parse_trades_refuses_times(text: Any) -> None:
    with pytest.raises(InvalidTrades, match=r"time .* is not an ISO 8601 time with an offset"):
        parse_trades([row(time=text)])


def test_parse_trades_error_is_one_bounded_line() -> None:
    with pytest.raises(InvalidTrades) as refused:
        parse_trades([row(price="\n\x1b[2J" * 10_000)])
    assert len(str(refused.value)) < 500
    assert str(refused.value).isprintable()


# Candles


def test_fold_trades_by_bucket() -> None:
    trades = table((1, 0, 2, 0.5), (2, 30, 1, 1), (3, 59.9, 4, 1), (4, 59.99, 3, 1), (5, 120, 9, 2))
    folded = fold_trades(trades, MINUTE)
    assert folded.schema.equals(SCHEMA, check_metadata=True)
    assert folded.to_pylist() == [
        {"time": START, "open": 2, "high": 4, "low": 1, "close": 3, "volume": 3.5},
        {"time": START + 2 * MINUTE.delta}
        | dict.fromkeys(("open", "high", "low", "close"), 9)
        | {"volume": 2},
    ]


def test_fold_trades_orders_by_id() -> None:
    trades = table((2, 10, 3, 1), (3, 5, 4, 1), (1, 20, 2, 1), (4, 70, 5, 1))
    assert fold_trades(trades, MINUTE)["open"].to_pylist() == [2, 5]
    assert fold_trades(trades, MINUTE)["close"].to_pylist() == [4, 5]
    back = table((1, 70, 2, 1), (2, 10, 3, 1), (3, 80, 4, 1))
    assert fold_trades(back, MINUTE)["open"].to_pylist() == [3, 2]


def test_fold_trades_sums_volume_exactly() -> None:
    sizes = [1e16, *[1.0] * 9]
    trades = table(*((number, 1, 2, size) for number, size in enumerate(sizes, 1)))
    assert fold_trades(trades, MINUTE)["volume"].to_pylist() == [math.fsum(sizes)]


@pytest.mark.parametrize("granularity", Granularity)
def test_fold_trades_at_any_granularity(granularity: Granularity) -> None:
    seconds = granularity.seconds
    trades = table((1, 0, 2, 1), (2, seconds - 0.000001, 3, 1), (3, seconds, 4, 1))
    folded = fold_trades(trades, granularity)
    assert folded["time"].to_pylist() == [START, START + granularity.delta]
    assert folded["close"].to_pylist() == [3, 4]


def test_fold_trades_of_none() -> None:
    assert fold_trades(parse_trades([]), MINUTE) == SCHEMA.empty_table()
