"""Trades decide about holes: at a stand-in exchange over HTTP, with anchors in the lake."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from coinbase_assets.candles.calendar import DAY
from coinbase_assets.candles.datasets import TRADE_ANCHORS
from coinbase_assets.candles.series import Granularity
from coinbase_assets.candles.windows import Window
from coinbase_assets.collection.allowance import Allowance
from coinbase_assets.collection.trade_search import TradeSearch, TradesOfHole
from coinbase_assets.exchange.resource import ExchangeResource
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.stand_in.exchange import StandInExchange
from coinbase_assets_tests.stand_in.markets import Market, SyntheticMarket
from coinbase_assets_tests.stand_in.trades import Trade, TradeTape

START = datetime(2024, 1, 10, tzinfo=UTC)
PRODUCT = "ETH-EUR"
THIN = SyntheticMarket(PRODUCT, untraded=0.35)
HOUR, MINUTE, ONE = timedelta(hours=1), timedelta(minutes=1), Granularity.ONE_MINUTE
DAYS = 2 * 86_400
NOW = (START + 30 * DAY).timestamp()


def tape(**options: Any) -> TradeTape:
    first, end = (int((START + n * DAY).timestamp()) for n in (-6, 6))
    return TradeTape(market=THIN, start=first, end=end, **options)


@dataclass(kw_only=True)
class BusyTape(TradeTape):
    """160 trades a minute, of a volume of 1 each."""

    market: Market = THIN

    @cached_property
    def trades(self) -> Sequence[Trade]:
        pause = 60_000_000 // 160
        return [
            Trade(number + 1, self.start * 1_000_000 + number * pause, "100", "1")
            for number in range((self.end - self.start) // 60 * 160)
        ]


def holes() -> list[Window]:
    """Return the runs of minutes without a candle on the day START."""
    first = int(START.timestamp())
    traded = {row[0] for row in THIN.candles(60, first, first + 86_340, NOW)}
    found: list[Window] = []
    for minute in range(1440):
        start = START + minute * MINUTE
        if first + minute * 60 not in traded:
            joins = found and found[-1].end == start
            begin = found.pop().start if joins else start
            found.append(Window(begin, start + MINUTE))
    return found


@contextmanager
def searching(
    folder: Path,
    lake: ParquetStore,
    trades: Mapping[str, TradeTape],
    allowed: int = 1_000,
    failing: bool = False,
) -> Iterator[tuple[TradeSearch, StandInExchange]]:
    with StandInExchange(
        rate=None,
        clock=lambda: NOW,
        markets={PRODUCT: THIN},
        trades=trades,
        faults=(lambda number, product, params: "500") if failing else None,
    ) as exchange:
        resource = ExchangeResource(
            api_url=exchange.url,
            requests_per_second=1000,
            give_up_after=0.1 if failing else 60,
            budget_path=str(folder / "budget.sqlite"),
        )
        with resource.get_client() as client:
            yield TradeSearch(client, lake, PRODUCT, Allowance(allowed)), exchange


def look(
    folder: Path, lake: ParquetStore, hole: Window, **options: Any
) -> tuple[TradesOfHole, int]:
    """Return what trades say of one hole, and the number of requests."""
    with searching(folder, lake, {PRODUCT: tape(**options)}) as (search, exchange):
        return search.look(hole, ONE), len(exchange.requests)


def test_trades_prove_a_true_hole(tmp_path: Path, lake: ParquetStore) -> None:
    found, requests = look(tmp_path, lake, holes()[100])
    assert found.witness.startswith("trades ")
    assert (found.candles.num_rows, found.available) == (0, True)
    assert requests <= 13


def test_trades_prove_every_hole_of_a_thin_day_in_few_pages(
    tmp_path: Path, lake: ParquetStore
) -> None:
    with searching(tmp_path, lake, {PRODUCT: tape()}) as (search, exchange):
        found = [search.look(hole, ONE) for hole in holes()]
        requests = len(exchange.requests)
    assert len(found) > 200
    assert all(each.witness and not each.candles.num_rows for each in found)
    assert requests <= 20


def test_trades_bring_back_candles(tmp_path: Path, lake: ParquetStore) -> None:
    first = int(START.timestamp()) + 10 * 3_600
    hole = Window(START + timedelta(hours=10), START + timedelta(hours=11))
    found, _ = look(tmp_path, lake, hole)
    rows = THIN.candles(60, first, first + 3_540, NOW)
    assert [int(time.timestamp()) for time in found.candles["time"].to_pylist()] == [
        row[0] for row in rows
    ]
    assert found.candles["volume"].to_pylist() == [row[5] for row in rows]


def test_trades_anchors_shorten_the_next_search(tmp_path: Path, lake: ParquetStore) -> None:
    _, before = look(tmp_path, lake, holes()[100])
    assert list(lake.list(TRADE_ANCHORS.folder()))
    found, after = look(tmp_path, lake, holes()[100])
    assert found.witness
    assert after < before


def test_trades_never_issued_ids_are_no_loss(tmp_path: Path, lake: ParquetStore) -> None:
    every = {number for number in range(1, 200_000) if number % 97 == 0}
    with searching(tmp_path, lake, {PRODUCT: tape(never_issued=every)}) as (search, _):
        found = [search.look(hole, ONE) for hole in holes()[::10]]
    assert all(each.witness and not each.candles.num_rows for each in found)


def test_trades_withheld_once_are_asked_for_again(tmp_path: Path, lake: ParquetStore) -> None:
    """All trades of ten minutes are missing from the first answer that should hold them."""
    hole = Window(START + timedelta(hours=10), START + timedelta(hours=10, minutes=10))
    whole = tape()
    edges = [int(time.timestamp()) * 1_000_000 for time in (hole.start, hole.end)]
    withheld = {t.number for t in whole.trades if edges[0] <= t.microseconds < edges[1]}
    assert withheld
    found, _ = look(tmp_path, lake, hole, withheld=withheld)
    assert found.candles.num_rows or not found.witness


def test_trades_no_proof_across_restarted_ids(tmp_path: Path, lake: ParquetStore) -> None:
    hole = holes()[100]
    found, _ = look(tmp_path, lake, hole, restart=int(hole.start.timestamp()), first_id=10**6)
    assert (found.witness, found.available) == ("", False)


@pytest.mark.soak
@pytest.mark.parametrize("minutes", [5, 60])
def test_trades_bring_back_runs_of_busy_book(
    tmp_path: Path, lake: ParquetStore, minutes: int
) -> None:
    first = int(START.timestamp()) + 10 * 3_600
    hole = Window(START + 10 * HOUR, START + 10 * HOUR + minutes * MINUTE)
    tape = BusyTape(start=first - DAYS, end=first + DAYS)
    # They take seconds to make, which the first answer would be late by.
    assert tape.trades
    with searching(tmp_path, lake, {PRODUCT: tape}) as (search, exchange):
        found = search.look(hole, ONE)
        requests = len(exchange.requests)
    assert found.witness
    assert found.candles["volume"].to_pylist() == [160.0] * minutes
    assert requests <= 20


def test_trades_before_oldest_trade_are_not_to_be_had(tmp_path: Path, lake: ParquetStore) -> None:
    before = START - 8 * DAY
    found, requests = look(tmp_path, lake, Window(before, before + MINUTE))
    assert (found.witness, found.available) == ("", False)
    assert requests <= 20


def test_trades_before_oldest_trade_that_exchange_still_has(
    tmp_path: Path, lake: ParquetStore
) -> None:
    before = START - 8 * DAY
    found, requests = look(tmp_path, lake, Window(before, before + MINUTE), first_id=700_000)
    assert (found.witness, found.available) == ("", False)
    assert requests <= 20


def test_trades_product_without_endpoint(tmp_path: Path, lake: ParquetStore) -> None:
    with searching(tmp_path, lake, {}) as (search, exchange):
        found = [search.look(hole, ONE) for hole in holes()[:5]]
        assert len(exchange.requests) == 2
    assert {(each.witness, each.available) for each in found} == {("", False)}


def test_trades_that_fail_leave_the_doubt(
    tmp_path: Path, lake: ParquetStore, caplog: pytest.LogCaptureFixture
) -> None:
    with searching(tmp_path, lake, {PRODUCT: tape()}, failing=True) as (search, exchange):
        found = [search.look(hole, ONE) for hole in holes()[:3]]
        requests = len(exchange.requests)
    assert {(each.witness, each.available) for each in found} == {("", True)}
    assert "holes in doubt stay unconfirmed" in caplog.text
    assert caplog.text.count("stay unconfirmed") == 1
    assert requests >= 1


@pytest.mark.parametrize("allowed", [0, 1, 2])
def test_trades_stop_at_the_allowance(tmp_path: Path, lake: ParquetStore, allowed: int) -> None:
    with searching(tmp_path, lake, {PRODUCT: tape()}, allowed) as (search, exchange):
        found = search.look(holes()[100], ONE)
        assert len(exchange.requests) == allowed
    assert (found.witness, found.available) == ("", True)


def test_trades_after_the_newest_trade_prove_nothing(tmp_path: Path, lake: ParquetStore) -> None:
    later = START + 10 * DAY
    found, requests = look(tmp_path, lake, Window(later, later + MINUTE))
    assert (found.witness, found.available) == ("", True)
    assert requests <= 2
