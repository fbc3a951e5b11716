"""The stand-in exchange's trades: pages by id, and the candles they were made of."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pyarrow as pa
import pytest

from coinbase_assets.candles.parsing import parse_candles
from coinbase_assets.candles.series import Granularity
from coinbase_assets.candles.trades import fold_trades, parse_trades
from coinbase_assets_tests.stand_in.exchange import StandInExchange
from coinbase_assets_tests.stand_in.markets import ListMarket, SyntheticMarket
from coinbase_assets_tests.stand_in.trades import TradeTape, split_candle

START = 1_704_067_200  # 2024-01-01T00:00Z
DAY = 86400
NOW = START + DAY + 0.5
MARKET = SyntheticMarket("THIN-EUR", untraded=0.35)


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, verify=False) as client:
        yield client


def tape(**changes: Any) -> TradeTape:
    values: dict[str, Any] = {"market": MARKET, "start": START, "end": START + DAY, **changes}
    return TradeTape(**values)


def served(trades: TradeTape, now: float = NOW, **options: Any) -> StandInExchange:
    return StandInExchange(
        rate=None,
        clock=lambda: now,
        markets={"THIN-EUR": MARKET, "A-B": MARKET},
        trades={"THIN-EUR": trades},
        **options,
    )


def ids(client: httpx.Client, exchange: StandInExchange, **params: Any) -> list[int]:
    answer = client.get(f"{exchange.url}/products/THIN-EUR/trades", params=params)
    return [row["trade_id"] for row in answer.json()]


@pytest.mark.parametrize(
    "row",
    [
        [START, 2.0, 2.0, 2.0, 2.0, 1e-08],
        [START, 1.0, 4.0, 2.0, 3.0, 1e-08],
        [START, 1.0, 4.0, 1.0, 4.0, 0.3],
        [START, 2.0, 4.0, 2.0, 2.0, 123456.12345678],
        [START, 1.0, 2.0, 2.0, 2.0, 7],
        [START, 0.00001, 0.00004, 0.00002, 0.00003, 5.5],
    ],
)
def test_split_candle_folds_back(row: list[Any]) -> None:
    assert folded([row]) == candles([row])


def folded(rows: list[list[Any]]) -> pa.Table:
    market = ListMarket({60: rows})
    trades = TradeTape(market=market, start=rows[0][0], end=rows[-1][0] + 60).trades
    return fold_trades(parse_trades([trade.row() for trade in trades]), Granularity.ONE_MINUTE)


def candles(rows: list[Any]) -> pa.Table:
    times = [datetime.fromtimestamp(rows[place][0], UTC) for place in (0, -1)]
    last = times[1] + Granularity.ONE_MINUTE.delta
    return parse_candles(rows, Granularity.ONE_MINUTE, times[0], last)


def test_tape_folds_back_to_market() -> None:
    rows = MARKET.candles(60, START, START + DAY - 60, 2 * NOW)
    assert folded(rows) == candles(rows)


def test_split_candle_makes_fewest_trades() -> None:
    assert len(list(split_candle([START, 2, 2, 2, 2, 5]))) == 1
    assert len(list(split_candle([START, 2, 3, 2, 3, 5]))) == 2
    assert len(list(split_candle([START, 1, 4, 2, 3, 5]))) == 4


def test_trades_row_is_as_documented(client: httpx.Client) -> None:
    market = ListMarket({60: [[START, 2.0, 2.0, 2.0, 2.0, 0.5]]})
    with served(tape(market=market)) as exchange:
        answer = client.get(f"{exchange.url}/products/THIN-EUR/trades")
    assert answer.json() == [
        {
            "time": "2024-01-01T00:00:30.000200Z",
            "trade_id": 1,
            "price": "2.0",
            "size": "0.50000000",
            "side": "buy",
        }
    ]
    assert (answer.headers["cb-before"], answer.headers["cb-after"]) == ("1", "1")


def test_trades_page_newest_first(client: httpx.Client) -> None:
    trades = tape()
    newest = len(trades.trades)
    with served(trades) as exchange:
        assert ids(client, exchange) == list(range(newest, newest - 1000, -1))
        assert ids(client, exchange, limit=3, after=2001) == [2000, 1999, 1998]
        assert ids(client, exchange, after=11, before=8) == [10, 9]
        assert ids(client, exchange, after=1) == []


def test_trades_until_now_only(client: httpx.Client) -> None:
    with served(tape(), now=START + 3600) as exchange:
        rows = client.get(f"{exchange.url}/products/THIN-EUR/trades").json()
    assert rows[0]["time"] < "2024-01-01T01"
    assert rows[0]["time"] > "2024-01-01T00:50"


def test_trades_never_issued_ids_are_left_out(client: httpx.Client) -> None:
    with served(tape(never_issued=[9, 10])) as exchange:
        assert ids(client, exchange, limit=3, after=12) == [11, 8, 7]


def test_trades_withheld_once(client: httpx.Client) -> None:
    with served(tape(withheld={9})) as exchange:
        assert ids(client, exchange, limit=3, after=11) == [10, 8]
        assert ids(client, exchange, limit=3, after=11) == [10, 9, 8]


def test_trades_restart_counts_from_one(client: httpx.Client) -> None:
    restarted = tape(first_id=50_000, restart=START + DAY // 2)
    with served(restarted) as exchange:
        assert ids(client, exchange)[0] < 2500
        assert ids(client, exchange, limit=3, after=4) == [3, 2, 1]
    assert restarted.trades[0].number == 50_000


def test_trades_without_endpoint(client: httpx.Client) -> None:
    with served(tape()) as exchange:
        assert client.get(f"{exchange.url}/products/A-B/trades").status_code == 404
        assert client.get(f"{exchange.url}/products/A-B").status_code == 200


@pytest.mark.parametrize("params", [{"limit": 1001}, {"limit": 0}, {"after": "x"}])
def test_trades_wrong_parameters(client: httpx.Client, params: dict[str, Any]) -> None:
    with served(tape()) as exchange:
        answer = client.get(f"{exchange.url}/products/THIN-EUR/trades", params=params)
    assert answer.status_code == 400
