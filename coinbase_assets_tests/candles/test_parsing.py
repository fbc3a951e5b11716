"""Parsing an answer's rows: what is read, and what is refused."""

import json
import math
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from coinbase_assets.candles.parsing import parse_candles
from coinbase_assets.candles.series import Granularity
from coinbase_assets.candles.table import SCHEMA, InvalidCandles, epoch_seconds

START = datetime(2024, 1, 1, tzinfo=UTC)
END = START + timedelta(hours=5)
FIRST = int(START.timestamp())
MINUTE = Granularity.ONE_MINUTE
RECORDED = Path(__file__).resolve().parents[3] / "shared" / "candles" / "responses"


def row(number: int = 0, **changes: Any) -> list[Any]:
    """Return the row of the minute with this number, in the exchange's order of columns."""
    values = {
        "time": FIRST + 60 * number,
        "low": 1,
        "high": 4.0,
        "open": 2,
        "close": 3,
        "volume": 5,
    }
    return list((values | changes).values())


def parse(*rows: Any, granularity: Granularity = MINUTE, end: datetime = END) -> pa.Table:
    return parse_candles(list(rows), granularity, START, end)


def times(table: pa.Table) -> list[int]:
    """Return the numbers of the candles' minutes."""
    return [int((time - START).total_seconds()) // 60 for time in table["time"].to_pylist()]


# What is read


@pytest.mark.parametrize("rows", [[], [row()], [row(), row(1)], [row(-1)]])
def test_parse_returns_the_schema(rows: list[Any]) -> None:
    assert parse(*rows).schema.equals(SCHEMA, check_metadata=True)


def test_parse_assigns_columns() -> None:
    assert parse([FIRST, 1, 4.5, 2, 3.25, 1e-08]).to_pylist() == [
        {"time": START, "open": 2.0, "high": 4.5, "low": 1.0, "close": 3.25, "volume": 1e-08}
    ]


def test_parse_sorts_rows() -> None:
    rows = [row(number, volume=number) for number in range(300)]
    ascending = parse(*rows)
    assert ascending["volume"].to_pylist() == list(range(300))
    assert parse(*rows[::-1]) == ascending
    assert parse(*random.Random(1).sample(rows, 300)) == ascending


def test_parse_drops_rows_before_start() -> None:
    assert times(parse(row(1), row(0), row(-1), row(-300))) == [0, 1]


def test_parse_drops_repeated_rows() -> None:
    assert times(parse(row(2), row(1), row(2, high=4), row(1), row(1))) == [1, 2]


def test_parse_keeps_last_bucket_before_end() -> None:
    assert times(parse(row(299))) == [299]


def recorded_answers() -> list[Any]:
    files = sorted(RECORDED.glob("*.json"))
    absent = pytest.param(None, marks=pytest.mark.skip("no folder ../shared/candles/responses"))
    return [pytest.param(file, id=file.stem) for file in files] or [absent]


@pytest.mark.parametrize("file", recorded_answers())
def test_parse_reads_recorded_answers(file: Path) -> None:
    rows = json.loads(file.read_text())
    newest, oldest = rows[0][0], rows[-1][0]
    granularity = Granularity.ONE_HOUR if newest % 3600 == 0 else MINUTE
    start, end = (datetime.fromtimestamp(time, UTC) for time in (oldest, newest))
    table = parse_candles(rows, granularity, start, end + granularity.delta)
    values = [table[name].to_pylist() for name in ("low", "high", "open", "close", "volume")]
    read = zip(epoch_seconds(table["time"]).tolist(), *values, strict=True)
    assert [list(row) for row in read] == rows[::-1]


# What is refused


@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        (row(1)[:5], "not 6 values"),
        ([*row(1), 0], "not 6 values"),
        ([], "not 6 values"),
        (dict(enumerate(row(1))), "not 6 values"),
        ("162739", "not 6 values"),
        (None, "not 6 values"),
        (row(1, high="4.0"), "'4.0' is not a number"),
        (row(1, time=f"{FIRST}"), f"'{FIRST}' is not a number"),
        (row(1, volume=True), "True is not a number"),
        (row(1, open=None), "None is not a number"),
        (row(1, close=[3]), r"\[3\] is not a number"),
        (row(1, time=FIRST + 60.5), "time is not a whole number of seconds"),
        (row(1, time=math.nan), "time is not a whole number of seconds"),
    ],
)
def test_parse_refuses_row_of_another_shape(bad: Any, rule: str) -> None:
    with pytest.raises(InvalidCandles, match=rule) as refusal:
        parse(row(2), bad, row(0))
    assert str(refusal.value).startswith(f"row {bad!r}: ")


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        *(({name: math.nan}, "every value is finite") for name in SCHEMA.names[1:]),
        *(({name: math.inf}, "every value is finite") for name in SCHEMA.names[1:]),
        ({"low": -math.inf}, "every value is finite"),
        ({"low": -math.inf, "high": math.inf}, "every value is finite"),
        ({"volume": -1e-08}, "no value is negative"),
        ({"low": -1}, "no value is negative"),
        ({"low": 5}, "low never exceeds high"),
        ({"open": 0.99}, "open lies between low and high"),
        ({"open": 4.01}, "open lies between low and high"),
        ({"close": 0.99}, "close lies between low and high"),
        ({"close": 4.01}, "close lies between low and high"),
    ],
)
def test_parse_refuses_impossible_values(changes: dict[str, Any], rule: str) -> None:
    with pytest.raises(
        InvalidCandles, match=rf"^row 2024-01-01T00:01:00Z {{.*}} breaks the rule: {rule}$"
    ):
        parse(row(2), row(1, **changes), row(0))


@pytest.mark.parametrize(
    ("second", "rule"),
    [
        (61, "time lies on the 1m grid"),
        (119, "time lies on the 1m grid"),
        (18_000, "time is before 2024-01-01T05:00:00Z"),
        (86_400, "time is before 2024-01-01T05:00:00Z"),
    ],
)
def test_parse_refuses_times_not_asked_for(second: int, rule: str) -> None:
    named = f"{START + timedelta(seconds=second):%FT%TZ}"
    with pytest.raises(InvalidCandles, match=rf"^row {named} {{.*}} breaks the rule: {rule}$"):
        parse(row(2), row(time=FIRST + second), row(0))


@pytest.mark.parametrize("power", [3, 6, 9, 400])
def test_parse_refuses_time_in_another_unit(power: int) -> None:
    with pytest.raises(InvalidCandles, match=r"^row "):
        parse(row(0), row(time=FIRST * 10**power))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("column", ["high", "volume"])
def test_parse_refuses_too_large_number(column: str, sign: int) -> None:
    with pytest.raises(InvalidCandles, match=r"^row "):
        parse(row(0), row(1, **{column: sign * 10**400}))


@pytest.mark.parametrize("rows", [["A", "B"], ["B", "A"], ["A", "B", "A"], ["B", "A", "A"]])
def test_parse_refuses_two_candles_for_one_time(rows: list[str]) -> None:
    candles = {"A": row(1), "B": row(1, close=3.5)}
    with pytest.raises(InvalidCandles, match=r"^row 2024-01-01T00:01:00Z .*: time is unique"):
        parse(row(2), *(candles[name] for name in rows), row(0))


@pytest.mark.parametrize(
    ("asked", "sent"), [("5m", "1m"), ("15m", "5m"), ("1h", "15m"), ("6h", "1h"), ("1d", "6h")]
)
def test_parse_refuses_finer_granularity(asked: str, sent: str) -> None:
    rows = [row(time=FIRST + n * Granularity(sent).seconds) for n in range(300)]
    with pytest.raises(InvalidCandles, match=f": time lies on the {asked} grid$"):
        parse(*rows, granularity=Granularity(asked), end=START + timedelta(days=300))


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        *[("1m", "5m"), ("5m", "15m"), ("5m", "1h"), ("15m", "1h"), ("1h", "6h"), ("6h", "1d")],
        *[("1m", "15m"), ("15m", "6h"), ("1h", "1d")],
    ],
)
def test_parse_refuses_coarser_granularity(asked: str, sent: str) -> None:
    granularity, coarser = Granularity(asked), Granularity(sent)
    end = START + 300 * granularity.delta
    rows = [row(time=time) for time in range(FIRST, int(end.timestamp()), coarser.seconds)]
    with pytest.raises(InvalidCandles, match=r"^all .*2024-01-01T00:00:00Z .*another granularity"):
        parse(*rows, granularity=granularity, end=end)


def test_parse_accepts_one_candle_off_coarser_grid() -> None:
    assert parse(*(row(5 * number) for number in range(60)), row(7)).num_rows == 61


def test_parse_accepts_few_candles_on_coarser_grid() -> None:
    assert parse(*(row(60 * number) for number in range(5))).num_rows == 5
