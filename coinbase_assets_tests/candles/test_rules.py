"""The rules that stored candles must follow."""

from datetime import UTC, datetime, timedelta

import pytest

from coinbase_assets.candles.rules import validate_candles
from coinbase_assets.candles.series import Granularity
from coinbase_assets.candles.table import SCHEMA, InvalidCandles
from coinbase_assets_tests.stand_in.tables import candle_table

START = datetime(2024, 1, 1, tzinfo=UTC)
END = START + timedelta(hours=5)
MINUTE = Granularity.ONE_MINUTE


def test_validate_refuses_another_schema() -> None:
    table = candle_table([START])
    nullable = SCHEMA.set(1, SCHEMA.field("open").with_nullable(True))
    for other in (table.drop_columns("volume"), table.cast(nullable)):
        with pytest.raises(InvalidCandles, match="not the candle schema"):
            validate_candles(other, MINUTE, START, END)


def test_validate_refuses_times_outside_range_or_descending() -> None:
    table = candle_table([START, START + MINUTE.delta])
    validate_candles(table, MINUTE, START, END)
    with pytest.raises(
        InvalidCandles, match=r"00:00:00Z .*time is not before 2024-01-01T00:01:00Z"
    ):
        validate_candles(table, MINUTE, START + MINUTE.delta, END)
    with pytest.raises(InvalidCandles, match=r"00:00:00Z .*time is unique and ascending"):
        validate_candles(table.take([1, 0]), MINUTE, START, END)
