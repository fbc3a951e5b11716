"""Real candles, served by the stand-in and collected as a user would, come out as they went in."""

from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from coinbase_assets.collect import Collector
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.exchange import StandInExchange
from coinbase_assets_tests.markets import file_markets
from coinbase_assets_tests.running import asset_job, settings_for

CANDLES = Path(__file__).resolve().parents[2] / "shared" / "candles"

pytestmark = pytest.mark.skipif(
    not CANDLES.exists(), reason=f"no real candles in {CANDLES}: the synthetic ones are tested"
)


@pytest.mark.parametrize(
    ("file", "series", "first", "last"),
    [
        ("BTC-USD_60_20180205_20180306", "BTC-USD:1m", "2018-02-05", "2018-03-06"),
        ("BTC-USD_60_20200210_20200216", "BTC-USD:1m", "2020-02-10", "2020-02-16"),
        ("BTC-EUR_60_20180404_20180406", "BTC-EUR:1m", "2018-04-04", "2018-04-06"),
        ("LTC-USD_60_20180404_20180406", "LTC-USD:1m", "2018-04-04", "2018-04-06"),
        ("BTC-EUR_900_20220520_20220523", "BTC-EUR:15m", "2022-05-20", "2022-05-23"),
        ("ETH-USD_86400_20160518_20251029", "ETH-USD:1d", "2025-08-01", "2025-11-05"),
    ],
)
def test_the_history_equals_the_file(
    lake: ParquetStore,
    instance: dg.DagsterInstance,
    file: str,
    series: str,
    first: str,
    last: str,
) -> None:
    with StandInExchange(rate=None, markets=file_markets(CANDLES)) as exchange:
        settings = settings_for(exchange.url, series)
        collector = Collector(asset_job(settings), instance, lake)
        days = [f"{day:%F}" for day in pd.date_range(first, last)]
        outcome = collector.collect(collector.plan(settings.series[0], days))
    assert (outcome.error, outcome.missing) == (None, [])
    tables = [lake.get(path).to_pandas() for path in sorted(lake.list("candle_history/"))]
    history = pd.concat(tables, ignore_index=True)
    expected = pd.read_parquet(CANDLES / f"{file}.parquet").sort_values("time", ignore_index=True)
    expected["time"] = pd.to_datetime(expected["time"], unit="s", utc=True).astype(
        history["time"].dtype
    )
    expected = expected[expected["time"].between(first, f"{last} 23:59", inclusive="both")]
    pd.testing.assert_frame_equal(
        history, expected[history.columns].reset_index(drop=True), check_exact=True
    )
