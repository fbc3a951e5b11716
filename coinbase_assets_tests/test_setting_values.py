"""COINBASE_ROLLUPS as it is written, and what of it is refused."""

import re

import pytest

from coinbase_assets.candles.datasets import CANDLE_ROLLUP
from coinbase_assets.candles.series import Granularity, Rollup, RollupGranularity, Series
from coinbase_assets.setting_values import parse_rollups


def test_a_rollup_says_what_it_is_made_of() -> None:
    minutes, hours = Series.parse("ETH-EUR:1m"), Series.parse("BTC-USD:1h")
    found = parse_rollups(" ETH-EUR:1m>5m, 1w ;BTC-USD:1h>2h;")
    assert found == (
        Rollup("ETH-EUR", RollupGranularity.FIVE_MINUTES, minutes),
        Rollup("ETH-EUR", RollupGranularity.ONE_WEEK, minutes),
        Rollup("BTC-USD", RollupGranularity.TWO_HOURS, hours),
    )
    assert list(map(str, found)) == ["ETH-EUR:5m", "ETH-EUR:1w", "BTC-USD:2h"]
    assert CANDLE_ROLLUP.asset_key(found[1]) == ["ETH-EUR", "1w", "candle_rollup"]


def test_one_named_twice_is_one() -> None:
    assert len(parse_rollups("ETH-EUR:1m>1h;ETH-EUR:1m>4h,1h")) == 2


def test_minutes_sum_up_to_every_granularity_there_is() -> None:
    everything = ",".join(RollupGranularity)
    assert len(parse_rollups(f"ETH-EUR:1m>{everything}")) == len(RollupGranularity)
    assert set(Granularity) - set(RollupGranularity) == {"1m"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ETH-EUR:1m", "'ETH-EUR:1m': names nothing to make of it; write such as ETH-EUR:1m>5m,1h"),
        ("eth:1m>1h", "'eth:1m': 'eth' is not a product"),
        ("ETH-EUR:4h>1d", "'ETH-EUR:4h': unknown granularity '4h'; allowed are 1m 5m 15m 1h 6h 1d"),
        (
            "ETH-EUR:1m>3h",
            "'ETH-EUR:1m>3h': unknown granularity '3h'; allowed are 5m 15m 30m 1h 2h 4h 6h 12h",
        ),
        ("BTC-USD:1m>1h;ETH-EUR:1m>", "'ETH-EUR:1m>': unknown granularity ''; allowed are 5m"),
        (
            "ETH-EUR:6h>1d,4h",
            "'ETH-EUR:6h>1d,4h': 6h candles do not sum up to 4h ones; give a multiple of 6h",
        ),
        ("ETH-EUR:1h>1h", "'ETH-EUR:1h>1h': 1h candles do not sum up to 1h ones; give a multiple"),
        ("ETH-EUR:1d>1h", "'ETH-EUR:1d>1h': 1d candles do not sum up to 1h ones"),
        (
            "ETH-EUR:1m>1h,4h;ETH-EUR:15m>1d,1h",
            "ETH-EUR:1h is made of both ETH-EUR:1m and ETH-EUR:15m; keep one",
        ),
    ],
)
def test_what_cannot_be_made_is_told_with_the_rule(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(said)}"):
        parse_rollups(text)
