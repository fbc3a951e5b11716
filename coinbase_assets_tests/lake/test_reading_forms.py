"""Reading candles in other lengths, of several products, into other libraries, with rows filled."""

from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import pyarrow as pa
import pytest

import coinbase_assets
from coinbase_assets import Lake, read_candles
from coinbase_assets.candles.calendar import DAY
from coinbase_assets.candles.datasets import CANDLE_HISTORY, CANDLE_ROLLUP
from coinbase_assets.candles.filling import Fill
from coinbase_assets.candles.months import with_raw_days
from coinbase_assets.candles.rollups import coarsen_candles
from coinbase_assets.candles.series import Series, parse_candle_series
from coinbase_assets.candles.table import SCHEMA
from coinbase_assets.lake.errors import CandlesMissing, InvalidRequest, SeriesNotFound
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets.table_metadata import with_fields
from coinbase_assets_tests.lake.hourly_candles import (
    ETH,
    HOUR,
    WHOLE,
    january,
    store_january,
)
from coinbase_assets_tests.stand_in.tables import candle_table

# Candles of a length that is not stored


def versioned(table: pa.Table) -> pa.Table:
    return with_fields(table, {"version": "1"})


def test_read_makes_longer_candles_of_collected_ones(lake: ParquetStore) -> None:
    store_january(lake, CANDLE_HISTORY, versioned(january(1, 31)))
    found = read_candles("ETH-EUR:4h", None, "2024-01-01", "2024-02-01")
    assert len(found) == 31 * 6
    assert found["volume"].to_list() == [
        sum(WHOLE["volume"].to_pylist()[n : n + 4]) for n in range(0, 31 * 24, 4)
    ]


def test_read_leaves_out_longer_candle_with_a_part_not_collected(lake: ParquetStore) -> None:
    store_january(lake, CANDLE_HISTORY, versioned(january(2, 31)))
    weeks = read_candles("ETH-EUR:1w", None, "2024-01-01", "2024-01-29", allow_gaps=True)
    assert [f"{week:%F}" for week in weeks["time"]] == ["2024-01-08", "2024-01-15", "2024-01-22"]
    with pytest.raises(CandlesMissing, match="collect ETH-EUR:1h --from 2024-01-01 --to 2024-01-0"):
        read_candles("ETH-EUR:1w", None, "2024-01-01", "2024-01-29")


def test_read_makes_no_shorter_candles(lake: ParquetStore) -> None:
    store_january(lake, CANDLE_HISTORY, versioned(january(1, 31)))
    for length in ("30m", "1m"):
        with pytest.raises(SeriesNotFound, match="it holds ETH-EUR:1h"):
            read_candles(f"ETH-EUR:{length}")


# Several products, other libraries, empty buckets


@pytest.fixture
def two_products(lake: ParquetStore) -> ParquetStore:
    store_january(lake, CANDLE_HISTORY, january(1, 2))
    path = CANDLE_HISTORY.path(Series.parse("BTC-USD:1h")).format(partition="2024-01")
    lake.put(path, january(1, 1), None)
    return lake


TWO = ["ETH-EUR", "BTC-USD"]


@pytest.mark.usefixtures("two_products")
def test_read_several_products_in_one_table() -> None:
    found = read_candles(TWO, "1h", "2024-01-01", "2024-01-02", ["close", "time"])
    assert list(found) == ["product", "close", "time"]
    assert found["product"].value_counts().to_dict() == {"ETH-EUR": 24, "BTC-USD": 24}


@pytest.mark.usefixtures("two_products")
def test_read_gives_each_product_a_column() -> None:
    found = read_candles(TWO, "1h", "2024-01-01", "2024-01-03", "product", allow_gaps=True)
    assert len(found) == 48
    volumes = found["volume"]
    assert list(volumes) == ["BTC-USD", "ETH-EUR"]
    assert volumes["ETH-EUR"].to_list() == WHOLE["volume"].to_pylist()[:48]
    assert volumes["BTC-USD"].isna().sum() == 24
    with pytest.raises(CandlesMissing, match="BTC-USD:1h"):
        read_candles(TWO, "1h", "2024-01-01", "2024-01-03", "product")


@pytest.mark.usefixtures("two_products")
def test_read_into_other_libraries() -> None:
    day = ("ETH-EUR:1h", None, "2024-01-01", "2024-01-02")
    volumes = WHOLE["volume"].to_pylist()[:24]
    assert read_candles(*day, as_="arrow")["volume"].to_pylist() == volumes
    assert read_candles(*day, as_="polars")["volume"].to_list() == volumes
    assert read_candles(*day, as_="duckdb").sum("volume").fetchall() == [(sum(volumes),)]


@pytest.mark.parametrize(
    ("fill", "closes", "volumes"),
    [
        ("previous", [None, 5.0, 5.0, 6.0, 6.0], [0.0, 1.0, 0.0, 2.0, 0.0]),
        ("nan", [None, 5.0, None, 6.0, None], [None, 1.0, None, 2.0, None]),
    ],
)
def test_read_fills_buckets_that_were_collected(
    lake: ParquetStore, fill: Fill, closes: list[float | None], volumes: list[float | None]
) -> None:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    prices = {name: [5.0, 6.0] for name in ("open", "high", "low", "close")}
    table = candle_table([start + HOUR, start + 3 * HOUR], volume=[1.0, 2.0], **prices)
    until = (start + 5 * HOUR).isoformat()
    store_january(
        lake, CANDLE_HISTORY, with_raw_days(table, {"2024-01-01": {"answered_through": until}})
    )
    found = read_candles("ETH-EUR:1h", None, start, start + 6 * HOUR, fill=fill, allow_gaps=True)
    assert found["time"].to_list() == [start + n * HOUR for n in range(5)]
    assert found["close"].astype(object).where(found["close"].notna(), None).to_list() == closes
    assert found["volume"].astype(object).where(found["volume"].notna(), None).to_list() == volumes


def test_read_fills_from_the_month_before(lake: ParquetStore) -> None:
    store_january(lake, CANDLE_HISTORY, january(31, 31))
    first = datetime(2024, 2, 1, tzinfo=UTC)
    empty = with_raw_days(
        SCHEMA.empty_table(), {"2024-02-01": {"answered_through": (first + DAY).isoformat()}}
    )
    lake.put(CANDLE_HISTORY.path(ETH).format(partition="2024-02"), empty, None)
    found = read_candles("ETH-EUR:1h", None, "2024-01-31", "2024-02-02", fill="previous")
    assert len(found) == 48
    assert found["close"].iloc[-1] == found["close"].iloc[23]


@pytest.mark.usefixtures("lake")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((5,), "product=5: not a product"),
        (("ETH-EUR",), "without a granularity; write .BTC-USD:1h."),
        (("ETH-EUR:1h", "2024-01-01"), "has its granularity; write start= and end="),
        (("ETH-EUR", 60), "granularity=60: not a granularity"),
        (([],), "no product; write"),
        ((["ETH-EUR:1h", "ETH-EUR:4h"],), "several granularities: 1h, 4h; read each"),
        (("ETH-EUR:1h", None, None, None, "close"), r'columns=.close.: write a list, such as \["t'),
    ],
)
def test_read_says_what_it_takes(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        read_candles(*arguments)


@pytest.mark.usefixtures("lake")
@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"fill": "ffill"}, "fill='ffill': unknown; there are previous, nan"),
        ({"as_": "numpy"}, "as_='numpy': unknown; there are pandas, polars, arrow, duckdb"),
        ({"columns": "product", "as_": "polars"}, "only pandas has such columns"),
    ],
)
def test_read_refuses_unknown_option(option: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        read_candles("ETH-EUR:1h", **option)


@pytest.mark.usefixtures("two_products")
def test_why_takes_both_forms() -> None:
    with Lake() as lake:
        said = lake.why("ETH-EUR:1h", "2024-01-01")
        assert said == lake.why("ETH-EUR", "1h", "2024-01-01")
        assert said.startswith("ETH-EUR:1h 2024-01-01T00:00:00Z: ")
        with pytest.raises(InvalidRequest, match="ETH-EUR:4h: rolled up, not collected"):
            lake.why("ETH-EUR:4h", "2024-01-01")


def test_package_names_its_version_and_errors() -> None:
    assert coinbase_assets.__version__ == version("coinbase-assets")
    for name in coinbase_assets.__all__:
        assert hasattr(coinbase_assets, name)
    assert issubclass(coinbase_assets.CandlesMissing, coinbase_assets.StorageError)


def test_read_completes_a_rollup_with_shorter_candles(lake: ParquetStore) -> None:
    four = parse_candle_series("ETH-EUR:4h")
    rolled = with_raw_days(
        coarsen_candles(january(1, 2), 4 * 3_600),
        {
            day: {"answered_through": f"{day}T23:59:59.999999+00:00"}
            for day in ("2024-01-01", "2024-01-02")
        },
    )
    lake.put(CANDLE_ROLLUP.path(four).format(partition="2024-01"), rolled, None)
    store_january(lake, CANDLE_HISTORY, versioned(january(2, 31)))
    found = read_candles("ETH-EUR:4h", None, "2024-01-01", "2024-02-01", allow_gaps=True)
    assert len(found) == 31 * 6
    assert found["volume"].sum() == sum(WHOLE["volume"].to_pylist())
    days = read_candles("ETH-EUR:4h", None, "2024-01-03", "2024-02-01", columns=["close"])
    assert len(days) == 29 * 6
