"""The values of settings: what is read, and what is refused."""

import re

import pytest

from coinbase_assets.candles.datasets import CANDLE_ROLLUP
from coinbase_assets.candles.series import Granularity, Rollup, RollupGranularity, Series
from coinbase_assets.environment.setting_values import parse_rollups


def test_parse_rollups_reads_sources() -> None:
    minutes, hours = Series.parse("ETH-EUR:1m"), Series.parse("BTC-USD:1h")
    found = parse_rollups(" ETH-EUR:1m>5m, 1w ;BTC-USD:1h>2h;")
    assert found == (
        Rollup("ETH-EUR", RollupGranularity.FIVE_MINUTES, minutes),
        Rollup("ETH-EUR", RollupGranularity.ONE_WEEK, minutes),
        Rollup("BTC-USD", RollupGranularity.TWO_HOURS, hours),
    )
    assert list(map(str, found)) == ["ETH-EUR:5m", "ETH-EUR:1w", "BTC-USD:2h"]
    assert CANDLE_ROLLUP.asset_key(found[1]) == ["ETH-EUR", "1w", "candle_rollup"]


def test_parse_rollups_drops_duplicates() -> None:
    assert len(parse_rollups("ETH-EUR:1m>1h;ETH-EUR:1m>4h,1h")) == 2


def test_parse_rollups_makes_every_granularity_from_minutes() -> None:
    everything = ",".join(RollupGranularity)
    assert len(parse_rollups(f"ETH-EUR:1m>{everything}")) == len(RollupGranularity)
    assert set(Granularity) - set(RollupGranularity) == {"1m"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "ETH-EUR:1m",
            "'ETH-EUR:1m' has no '>GRANULARITY' part; write for example ETH-EUR:1m>5m,1h",
        ),
        ("eth:1m>1h", "'eth:1m': 'eth' is not a product"),
        ("ETH-EUR:4h>1d", "'ETH-EUR:4h': unknown granularity '4h'; allowed are 1m 5m 15m 1h 6h 1d"),
        (
            "ETH-EUR:1m>3h",
            "'ETH-EUR:1m>3h': unknown granularity '3h'; allowed are 5m 15m ",
        ),
        ("BTC-USD:1m>1h;ETH-EUR:1m>", "'ETH-EUR:1m>': unknown granularity ''; allowed are 5m"),
        (
            "ETH-EUR:6h>1d,4h",
            "'ETH-EUR:6h>1d,4h': 4h candles cannot be made from 6h candles; allowed are 12h",
        ),
        (
            "ETH-EUR:1h>1h",
            "'ETH-EUR:1h>1h': 1h candles cannot be made from 1h candles; allowed are 2h",
        ),
        ("ETH-EUR:1d>1h", "'ETH-EUR:1d>1h': 1h candles cannot be made from 1d candles"),
        (
            "ETH-EUR:1m>1h,4h;ETH-EUR:15m>1d,1h",
            "ETH-EUR:1h is to be made from both ETH-EUR:1m and ETH-EUR:15m; remove one of them",
        ),
    ],
)
def test_parse_rollups_refuses_wrong_text(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        parse_rollups(text)
