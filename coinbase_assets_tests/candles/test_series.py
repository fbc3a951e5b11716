"""Series and granularities: how they are written, and the names that follow from them."""

import pytest

from coinbase_assets.candles.datasets import CANDLE_HISTORY, RAW_CANDLES
from coinbase_assets.candles.series import (
    Granularity,
    RollupGranularity,
    Series,
    parse_candle_series,
)

ETH = Series("ETH-EUR", Granularity.FIFTEEN_MINUTES)


def test_the_exchange_knows_six_granularities() -> None:
    seconds = {"1m": 60, "5m": 300, "15m": 900, "1h": 3_600, "6h": 21_600, "1d": 86_400}
    assert {str(g): g.seconds for g in Granularity} == seconds
    assert {g.delta.total_seconds() for g in Granularity} == set(seconds.values())


@pytest.mark.parametrize("granularity", Granularity)
def test_a_series_is_read_as_it_is_written(granularity: Granularity) -> None:
    series = Series("1INCH-USD", granularity)
    assert str(series) == f"1INCH-USD:{granularity}"
    assert Series.parse(f" {series}\n") == series


@pytest.mark.parametrize(
    "product", ["eth-eur", "ETHEUR", "ETH-", "-EUR", "ETH/EUR", "ETH-EUR-X", ""]
)
def test_what_is_not_a_product_is_refused_with_the_rule(product: str) -> None:
    with pytest.raises(ValueError, match="write PRODUCT:GRANULARITY in capitals") as refusal:
        Series.parse(f"{product}:15m")
    assert str(refusal.value).startswith(f"'{product}:15m': '{product}' is not a product")


@pytest.mark.parametrize("granularity", ["2m", "15M", "900", "15m:1h", " 15m", ""])
def test_an_unknown_granularity_is_refused_with_those_allowed(granularity: str) -> None:
    with pytest.raises(ValueError, match=r"allowed are 1m 5m 15m 1h 6h 1d$") as refusal:
        Series.parse(f"ETH-EUR:{granularity}")
    beginning = f"'ETH-EUR:{granularity}': unknown granularity '{granularity}'"
    assert str(refusal.value).startswith(beginning)


def test_a_series_without_a_colon_is_refused() -> None:
    with pytest.raises(ValueError, match="'ETH-EUR': unknown granularity ''"):
        Series.parse("ETH-EUR")


@pytest.mark.parametrize("text", ["ETH-EUR:1m", "ETH-EUR:1h", "ETH-EUR:4h", "ETH-EUR:1w"])
def test_what_the_exchange_does_not_have_can_be_read_all_the_same(text: str) -> None:
    found = parse_candle_series(text)
    assert str(found) == text
    assert isinstance(found, Series) == (text[-2:] in set(Granularity))
    assert RAW_CANDLES.folder(found) == f"raw_candles/product=ETH-EUR/granularity={text[-2:]}/"


def test_of_what_cannot_be_read_all_that_can_is_told() -> None:
    with pytest.raises(ValueError, match=r"allowed are 1m 5m 15m 30m 1h 2h 4h 6h 12h 1d 1w$"):
        parse_candle_series("ETH-EUR:3h")


def test_rollups_add_buckets_that_the_exchange_does_not_have() -> None:
    seconds = {"30m": 1_800, "2h": 7_200, "4h": 14_400, "12h": 43_200, "1w": 604_800}
    exchange = {one.value for one in Granularity}
    others = {g.value: g.seconds for g in RollupGranularity if g.value not in exchange}
    assert others == seconds


def test_series_sort_by_product_then_granularity() -> None:
    btc = Series("BTC-USD", Granularity.ONE_MINUTE)
    assert sorted([ETH, btc]) == [btc, ETH]


def test_names_that_follow() -> None:
    assert RAW_CANDLES.asset_key(ETH) == ["ETH-EUR", "15m", "raw_candles"]
    assert ETH.group == "ETH_EUR"


def test_blobs_lie_hive_style() -> None:
    folder = "candle_history/product=ETH-EUR/granularity=15m/"
    assert CANDLE_HISTORY.folder(ETH) == folder
    path = CANDLE_HISTORY.path(ETH)
    assert path.format(partition="2024-01") == f"{folder}month=2024-01/candles.parquet"
