"""The ledger as an asset: what the lake holds beats what was learned once."""

from datetime import date

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest

from coinbase_assets.candles.catalogue import LISTING_SCHEMA
from coinbase_assets.candles.datasets import CANDLE_COVERAGE, CANDLE_HISTORY, LISTINGS, PROOFS
from coinbase_assets.candles.series import Series
from coinbase_assets.completeness.ledger import State
from coinbase_assets.lake.reader import Lake
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.running import collect_raw, materialize, settings_for
from coinbase_assets_tests.stand_in.exchange import StandInExchange
from coinbase_assets_tests.stand_in.losses import LossyMarket
from coinbase_assets_tests.stand_in.markets import Candles, SyntheticMarket

HOURS = Series.parse("ETH-EUR:1h")
QUARTERS = Series.parse("ETH-EUR:15m")


@pytest.mark.parametrize("first_day", [date(2024, 1, 20), date(2024, 2, 10)])
def test_coverage_wrong_listing_explains_nothing_between_candles(
    lake: ParquetStore, instance: dg.DagsterInstance, first_day: date
) -> None:
    with StandInExchange(rate=None) as exchange:
        settings = settings_for(exchange.url, str(HOURS))
        for day in ("2024-01-05", "2024-02-20"):
            collect_raw(settings, instance, day)
        wrong = pa.Table.from_pylist([{"first_day": first_day}], LISTING_SCHEMA)
        path = LISTINGS.path().format(partition="ETH-EUR")
        lake.put(path, wrong, lake.find([path]).get(path))
        for dataset in (CANDLE_HISTORY, CANDLE_COVERAGE):
            materialize(settings, instance, dataset, "2024-01", "2024-02")
    blobs = lake.list(CANDLE_COVERAGE.folder(HOURS))
    states = [state for path in sorted(blobs) for state in lake.get(path)["state"].to_pylist()]
    assert states.count(State.TRADED) == 2
    first, last = (n for n, state in enumerate(states) if state == State.TRADED)
    assert {*states[first:last]} == {State.TRADED, State.NOT_COLLECTED}


def test_coverage_reads_proofs_of_damaged_day(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    minutes = _minutes("2024-01-05")
    lost = {int(minutes.time[0]) + 10 * 3_600}
    market = LossyMarket(minutes, 900, "every answer", lost)
    with StandInExchange(rate=None, markets={"ETH-EUR": market}) as exchange:
        settings = settings_for(exchange.url, str(QUARTERS))
        collect_raw(settings, instance, "2024-01-05")
        for dataset in (CANDLE_HISTORY, CANDLE_COVERAGE):
            materialize(settings, instance, dataset, "2024-01")
    (path,) = lake.list(PROOFS.folder(QUARTERS))
    assert lake.get(path)["state"].to_pylist() == ["unconfirmed"]
    with Lake() as reader:
        days = reader.days("ETH-EUR", "15m").to_pylist()
        said = reader.why("ETH-EUR", "15m", "2024-01-05T10:07")
        quiet = reader.why("ETH-EUR", "15m", "2024-01-09")
    (day,) = [row for row in days if row["day"] == date(2024, 1, 5)]
    assert (day["traded"], day["unconfirmed"], sum(v for k, v in day.items() if k != "day")) == (
        95,
        1,
        96,
    )
    assert said.startswith(
        "ETH-EUR:15m 2024-01-05T10:00:00Z: unconfirmed from 2024-01-05T10:00:00Z until"
        " 2024-01-05T10:15:00Z, the 1d candle shows more, as of "
    )
    assert said.endswith("`coinbase-assets heal` asks again")
    assert "not_collected from 2024-01-06T00:00:00Z" in quiet
    lake.put(path, lake.get(path).slice(0, 0), lake.find([path])[path])
    materialize(settings, instance, CANDLE_COVERAGE, "2024-01")
    with Lake() as reader:
        assert "no proof is stored" in reader.why("ETH-EUR", "15m", "2024-01-05T10:07")


def _minutes(day: str) -> Candles:
    """Return the minutes of a day of a market that is always traded."""
    first = int(np.datetime64(day, "s").astype(int))
    rows = SyntheticMarket("ETH-EUR", untraded=0.0).candles(60, first, first + 86_340, 2e9)
    return Candles(*(np.array(column) for column in zip(*rows, strict=True)))
