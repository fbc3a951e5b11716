"""What a collection asks first, from what the lake has."""

from datetime import UTC, datetime

import dagster as dg

from coinbase_assets.candles.series import Series
from coinbase_assets.collection.first_questions import first_questions
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.running import collect_raw, settings_for
from coinbase_assets_tests.stand_in.exchange import StandInExchange

PRODUCTS = ["BTC-USD", "ETH-EUR", "SOL-USD", "ADA-USD"]
FIRST, *OTHERS = [Series.parse(f"{product}:15m") for product in PRODUCTS]
KEYS = ["2023-12-31", "2024-01-01", "2024-01-02", "2024-01-03", "2024-01-05"]


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_final_days_are_left_out(lake: ParquetStore, instance: dg.DagsterInstance) -> None:
    with StandInExchange(rate=None) as exchange:
        settings = settings_for(exchange.url, str(FIRST))
        collect_raw(settings, instance, "2024-01-01", "2024-01-02")
    assert [*first_questions(lake, [FIRST], KEYS, again=False)] == [
        (FIRST, day("2023-12-31"), day("2024-01-01")),
        (FIRST, day("2024-01-03"), day("2024-01-04")),
        (FIRST, day("2024-01-05"), day("2024-01-06")),
    ]
    assert [*first_questions(lake, [FIRST], KEYS[1:3], again=False)] == []
    assert [*first_questions(lake, [FIRST], KEYS[1:3], again=True)] == [
        (FIRST, day("2024-01-01"), day("2024-01-03"))
    ]


def test_open_day_is_asked_for_again(lake: ParquetStore, instance: dg.DagsterInstance) -> None:
    noon = day("2024-01-02").replace(hour=12)
    with StandInExchange(rate=None, clock=noon.timestamp) as exchange:
        settings = settings_for(exchange.url, str(FIRST))
        collect_raw(settings, instance, "2024-01-01", "2024-01-02")
    (question,) = first_questions(lake, [FIRST], ["2024-01-01", "2024-01-02"], again=False)
    assert question == (FIRST, day("2024-01-01"), day("2024-01-03"))


def test_first_series_are_enough(lake: ParquetStore) -> None:
    asked = [series for series, *_ in first_questions(lake, [FIRST, *OTHERS], KEYS[:1], again=True)]
    assert asked == [FIRST, *OTHERS[:2]]
