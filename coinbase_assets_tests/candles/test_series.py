"""Series and granularities: how they are written, and the names derived from them."""

from pathlib import Path

import pytest

from coinbase_assets.candles.datasets import CANDLE_HISTORY, RAW_CANDLES
from coinbase_assets.candles.series import (
    BucketLength,
    Granularity,
    RollupGranularity,
    Series,
    parse_candle_series,
)

PROJECT = Path(__file__).resolve().parents[2]
ETH = Series("ETH-EUR", Granularity.FIFTEEN_MINUTES)


def test_granularity_seconds() -> None:
    seconds = {"1m": 60, "5m": 300, "15m": 900, "1h": 3_600, "6h": 21_600, "1d": 86_400}
    assert {str(g): g.seconds for g in Granularity} == seconds
    assert {g.delta.total_seconds() for g in Granularity} == set(seconds.values())


@pytest.mark.parametrize("granularity", Granularity)
def test_series_parse_reads_its_text(granularity: Granularity) -> None:
    series = Series("1INCH-USD", granularity)
    assert str(series) == f"1INCH-USD:{granularity}"
    assert Series.parse(f" {series}\n") == series


@pytest.mark.parametrize(
    "product", ["eth-eur", "ETHEUR", "ETH-", "-EUR", "ETH/EUR", "ETH-EUR-X-Y-Z", ""]
)
def test_series_parse_refuses_bad_product(product: str) -> None:
    with pytest.raises(ValueError, match="write the product in capitals") as refusal:
        Series.parse(f"{product}:15m")
    assert str(refusal.value).startswith(f"'{product}:15m': '{product}' is not a product")


@pytest.mark.parametrize("granularity", ["2m", "15M", "900", "15m:1h", " 15m", ""])
def test_series_parse_refuses_unknown_granularity(granularity: str) -> None:
    allowed = " ".join(Granularity)
    with pytest.raises(ValueError, match=f"allowed are {allowed}$") as refusal:
        Series.parse(f"ETH-EUR:{granularity}")
    beginning = f"'ETH-EUR:{granularity}': unknown granularity '{granularity}'"
    assert str(refusal.value).startswith(beginning)


def test_series_parse_refuses_missing_colon() -> None:
    with pytest.raises(ValueError, match="'ETH-EUR': unknown granularity ''"):
        Series.parse("ETH-EUR")


@pytest.mark.parametrize("text", ["ETH-EUR:1m", "ETH-EUR:1h", "ETH-EUR:4h", "ETH-EUR:1w"])
def test_candle_series_parse_reads_rollups(text: str) -> None:
    found = parse_candle_series(text)
    assert str(found) == text
    assert isinstance(found, Series) == (text[-2:] in set(Granularity))
    assert RAW_CANDLES.folder(found) == f"raw_candles/product=ETH-EUR/granularity={text[-2:]}/"


def test_candle_series_parse_refuses_unknown_granularity() -> None:
    with pytest.raises(ValueError, match="allowed are") as refusal:
        parse_candle_series("ETH-EUR:3h")
    allowed = str(refusal.value).partition("allowed are ")[2].split()
    assert {*allowed} == {*Granularity, *RollupGranularity}
    assert len(allowed) == len({*allowed})


def test_rollup_granularity_adds_to_granularity() -> None:
    seconds = {"30m": 1_800, "2h": 7_200, "4h": 14_400, "12h": 43_200, "1w": 604_800}
    added = {g.value: g.seconds for g in RollupGranularity if g.value not in {*Granularity}}
    assert seconds.items() <= added.items()


def test_rollup_granularity_divides_day_or_is_days() -> None:
    day = 86_400
    assert all(day % g.seconds == 0 or g.seconds % day == 0 for g in RollupGranularity)
    assert [g.seconds for g in RollupGranularity] == sorted(g.seconds for g in RollupGranularity)


class MadeUpLength(BucketLength):
    FIVE_HOURS = "5h"
    THREE_DAYS = "3d"


@pytest.mark.parametrize(
    ("length", "spans"),
    [
        *((granularity, False) for granularity in Granularity),
        (RollupGranularity.TWELVE_HOURS, False),
        (MadeUpLength.FIVE_HOURS, True),
        (MadeUpLength.THREE_DAYS, True),
        (RollupGranularity.ONE_WEEK, True),
    ],
)
def test_bucket_length_spans_months(length: BucketLength, spans: bool) -> None:
    assert length.spans_months == spans


def test_series_sort_by_product_then_granularity() -> None:
    btc = Series("BTC-USD", Granularity.ONE_MINUTE)
    assert sorted([ETH, btc]) == [btc, ETH]


def test_dataset_asset_key_and_group() -> None:
    assert RAW_CANDLES.asset_key(ETH) == ["ETH-EUR", "15m", "raw_candles"]
    assert ETH.group == "ETH_EUR"


def test_dataset_path_is_hive_style() -> None:
    folder = "candle_history/product=ETH-EUR/granularity=15m/"
    assert CANDLE_HISTORY.folder(ETH) == folder
    path = CANDLE_HISTORY.path(ETH)
    assert path.format(partition="2024-01") == f"{folder}month=2024-01/candles.parquet"
