"""Candles that only the trades still hold come back, marked, until the exchange gives its own."""

import logging
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from coinbase_assets.candles.days import parse_numbers
from coinbase_assets.candles.proofs import read_proofs
from coinbase_assets.candles.series import Series
from coinbase_assets.candles.table import empty_candles
from coinbase_assets.collection.day_updates import DaysToCollect, DayUpdates
from coinbase_assets.collection.stored_proofs import proofs_path
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets.table_metadata import table_fields, with_fields
from coinbase_assets_tests.collection.test_reconciler import client_of
from coinbase_assets_tests.stand_in.exchange import StandInExchange
from coinbase_assets_tests.stand_in.losses import Kind, LossyMarket
from coinbase_assets_tests.stand_in.markets import Candles, SyntheticMarket
from coinbase_assets_tests.stand_in.trades import TradeTape

KEY = "2024-01-10"
FIRST = int(datetime(2024, 1, 10, tzinfo=UTC).timestamp())
DAY, NOW = 86_400, FIRST + 5 * 86_400
SERIES = Series.parse("ETH-EUR:1m")
PATH = f"raw_candles/product=ETH-EUR/granularity=1m/date={KEY}/candles.parquet"
TRUE = SyntheticMarket("ETH-EUR", untraded=0.07)
TAPE = TradeTape(market=TRUE, start=FIRST - DAY, end=FIRST + 2 * DAY)


def minutes() -> Candles:
    rows = TRUE.candles(60, FIRST - DAY, FIRST + 2 * DAY - 60, NOW)
    return Candles(*(np.array(column) for column in zip(*rows, strict=True)))


def lossy(kind: Kind, count: int) -> LossyMarket:
    true = minutes()
    of_day = true.time[(true.time >= FIRST + 36_000) & (true.time < FIRST + DAY)]
    return LossyMarket(true, 60, kind, set(of_day[:count].tolist()))


def store_day(
    folder: Path, lake: ParquetStore, market: LossyMarket, every_hole: bool = False
) -> tuple[pa.Table, Mapping[str, str]]:
    """Collect and store the day; return its candles and fields."""
    stored = lake.find([PATH]).get(PATH)
    found = {KEY: stored} if stored else {}
    plan = DaysToCollect(SERIES, [KEY], found, {}, {}, live=False, healing=True)
    with (
        StandInExchange(
            rate=None, clock=lambda: NOW, markets={"ETH-EUR": market}, trades={"ETH-EUR": TAPE}
        ) as exchange,
        client_of(exchange, folder) as client,
    ):
        updates = DayUpdates(replace(plan, all_trades=every_hole), lake, "", logging.getLogger())
        ((_, update),) = updates.updates(nullcontext(client))
        table = update(stored)
    assert table is not None
    lake.put(PATH, table, stored)
    return table, table_fields(table)


def times(table: pa.Table) -> list[int]:
    return [int(time.timestamp()) for time in table["time"].to_pylist()]


def made_times(fields: Mapping[str, str]) -> list[int]:
    return [FIRST + number * 60 for number in sorted(parse_numbers(fields["from_trades"]))]


def true_rows() -> list[list[float]]:
    return TRUE.candles(60, FIRST, FIRST + DAY - 60, NOW)


@pytest.mark.parametrize("kind", ["every answer", "two levels", "up to 1h", "masked"])
@pytest.mark.parametrize("count", [1, 30])
def test_update_makes_lost_candles_of_trades(
    tmp_path: Path, lake: ParquetStore, kind: Kind, count: int
) -> None:
    market = lossy(kind, count)
    table, fields = store_day(tmp_path, lake, market)
    assert times(table) == [row[0] for row in true_rows()]
    made = made_times(fields)
    assert made == sorted(market.lost)
    volumes = dict(zip(times(table), table["volume"].to_pylist(), strict=True))
    assert [volumes[time] for time in made] == [row[5] for row in true_rows() if row[0] in made]


def test_update_learns_from_later_days_too(tmp_path: Path, lake: ParquetStore) -> None:
    """All daily candles show more; of the first day, only later days say so."""
    market = lossy("every answer", 3)
    day = market.levels[DAY]
    market.levels[DAY] = day._replace(volume=day.volume + 1)
    table, _ = store_day(tmp_path, lake, market)
    assert {*market.lost}.isdisjoint(times(table))
    for number in (11, 12, 13):
        later = PATH.replace(KEY, f"2024-01-{number}")
        lake.put(later, with_fields(empty_candles(), {"agreement": "1d 0/0/1"}), None)
    table, _ = store_day(tmp_path, lake, market)
    assert times(table) == [row[0] for row in true_rows()]


def test_update_candle_of_exchange_replaces_that_of_trades(
    tmp_path: Path, lake: ParquetStore
) -> None:
    store_day(tmp_path, lake, lossy("every answer", 3))
    kept, fields = store_day(tmp_path, lake, lossy("every answer", 3))
    assert (len(made_times(fields)), kept.num_rows) == (3, len(true_rows()))
    table, fields = store_day(tmp_path, lake, lossy("every answer", 0))
    assert "from_trades" not in fields
    assert table["volume"].to_pylist() == [row[5] for row in true_rows()]
    assert (fields["settled"], fields["witness"]) == ("true", "the 1d candles agree")


def test_update_finds_loss_at_every_granularity_by_all_trades(
    tmp_path: Path, lake: ParquetStore
) -> None:
    market = lossy("every level", 5)
    table, _ = store_day(tmp_path, lake, market)
    assert {*market.lost}.isdisjoint(times(table))
    table, fields = store_day(tmp_path, lake, market, every_hole=True)
    assert times(table) == [row[0] for row in true_rows()]
    assert len(made_times(fields)) == 5


def test_update_trades_prove_holes_without_coarser_candles(
    tmp_path: Path, lake: ParquetStore
) -> None:
    market = lossy("every answer", 5)
    market.levels = {60: market.levels[60]}
    table, fields = store_day(tmp_path, lake, market)
    assert times(table) == [row[0] for row in true_rows()]
    proofs = read_proofs(lake.get(proofs_path(SERIES, KEY)))
    assert {proof.state for proof in proofs} == {"no_trades"}
    assert all(proof.witness.startswith("trades ") for proof in proofs)
    assert fields["settled"] == "true"
