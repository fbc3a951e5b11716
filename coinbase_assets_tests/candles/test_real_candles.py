"""Real candles, served by the stand-in exchange and collected: the history equals the files.

A day is shipped with the tests. Larger files lie beside the project where it is developed.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from coinbase_assets.automation.collector import Collector
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.running import asset_job, settings_for
from coinbase_assets_tests.stand_in.exchange import StandInExchange
from coinbase_assets_tests.stand_in.markets import Candles, FileMarket, file_markets

SHIPPED = Path(__file__).with_name("real")
SHARED = Path(__file__).resolve().parents[3] / "shared" / "candles"
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason=f"no more real candles in {SHARED}")


@pytest.mark.parametrize(
    ("folder", "file", "series", "first", "last"),
    [
        (SHIPPED, "BTC-EUR_900_20220521_20220521", "BTC-EUR:15m", "2022-05-21", "2022-05-21"),
        *(
            pytest.param(SHARED, *case, marks=[needs_shared, pytest.mark.soak])
            for case in [
                ("BTC-USD_60_20180205_20180306", "BTC-USD:1m", "2018-02-05", "2018-03-06"),
                ("BTC-USD_60_20200210_20200216", "BTC-USD:1m", "2020-02-10", "2020-02-16"),
                ("BTC-EUR_60_20180404_20180406", "BTC-EUR:1m", "2018-04-04", "2018-04-06"),
                ("LTC-USD_60_20180404_20180406", "LTC-USD:1m", "2018-04-04", "2018-04-06"),
                ("BTC-EUR_900_20220520_20220523", "BTC-EUR:15m", "2022-05-20", "2022-05-23"),
                ("ETH-USD_86400_20160518_20251029", "ETH-USD:1d", "2025-08-01", "2025-11-05"),
            ]
        ),
    ],
)
def test_real_candles_history_equals_file(
    lake: ParquetStore,
    instance: dg.DagsterInstance,
    folder: Path,
    file: str,
    series: str,
    first: str,
    last: str,
) -> None:
    with StandInExchange(rate=None, markets=file_markets(folder)) as exchange:
        settings = settings_for(exchange.url, series)
        collector = Collector(asset_job(settings), instance, lake)
        days = [f"{day:%F}" for day in pd.date_range(first, last)]
        outcome = collector.collect(collector.plan(settings.series[0], days))
    assert (outcome.error, outcome.missing) == (None, [])
    tables = [lake.get(path).to_pandas() for path in sorted(lake.list("candle_history/"))]
    history = pd.concat(tables, ignore_index=True)
    expected = pd.read_parquet(folder / f"{file}.parquet").sort_values("time", ignore_index=True)
    times = pd.to_datetime(expected["time"], unit="s", utc=True)
    expected["time"] = times.astype(history["time"].dtype)
    expected = expected[expected["time"].between(first, f"{last} 23:59", inclusive="both")]
    pd.testing.assert_frame_equal(
        history, expected[history.columns].reset_index(drop=True), check_exact=True
    )


@dataclass
class WithCoarser:
    """The minutes of a file, and longer candles that also hold trades of other minutes."""

    minutes: FileMarket
    others: Candles

    @property
    def listing(self) -> int:
        return self.minutes.listing

    def candles(self, granularity: int, first: int, last: int, now: float) -> list[list[Any]]:
        if granularity == 60:
            return self.minutes.candles(granularity, first, last, now)
        own = self.minutes.series[60]
        both = Candles(*(np.concatenate(pair) for pair in zip(own, self.others, strict=True)))
        rows = both.select(np.argsort(both.time, kind="stable")).aggregate(granularity).rows()
        return [row for row in rows if first <= row[0] <= last]


HOLE = (datetime(2018, 4, 4, 16, 49, tzinfo=UTC), datetime(2018, 4, 5, tzinfo=UTC))


@needs_shared
@pytest.mark.soak
def test_real_candles_vendor_hole_is_unconfirmed(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    files = file_markets(SHARED)
    euro, litecoin = files["BTC-EUR"], files["LTC-USD"]
    assert isinstance(euro, FileMarket)
    assert isinstance(litecoin, FileMarket)
    time = np.arange(HOLE[0].timestamp(), HOLE[1].timestamp(), 60).astype(np.int64)
    price, volume = np.full(time.size, 5_500.0), np.full(time.size, 0.5)
    traded = Candles(time, price, price, price, price, volume)
    nothing = traded.select(slice(0, 0))
    markets = {
        "BTC-EUR": WithCoarser(euro, traded),
        "LTC-USD": WithCoarser(litecoin, nothing),
    }
    with StandInExchange(rate=None, markets=markets) as exchange:
        settings = settings_for(exchange.url, "BTC-EUR:1m", "LTC-USD:1m")
        collector = Collector(asset_job(settings), instance, lake)
        for series in settings.series:
            collector.collect(collector.plan(series, ["2018-04-04", "2018-04-05", "2018-04-06"]))
    ledgers = [lake.get(path).to_pylist() for path in sorted(lake.list("candle_coverage/"))]
    euro_holes, litecoin_holes = (
        [row for row in ledger if row["state"] in ("unconfirmed", "no_trades", "open")]
        for ledger in ledgers
    )
    *others, unconfirmed = [row for row in euro_holes if row["state"] == "unconfirmed"]
    assert (unconfirmed["start"], unconfirmed["end"]) == HOLE
    assert "candle shows more" in unconfirmed["evidence"]
    five_minutes = HOLE[0].replace(minute=45)
    assert all(row["start"] >= five_minutes for row in others)
    assert len(euro_holes) == 156
    assert Counter(row["state"] for row in litecoin_holes) == {"no_trades": 4}
    assert lake.get("market_halts/month=2018-04/halts.parquet").num_rows == 0
