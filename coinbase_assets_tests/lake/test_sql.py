"""SQL over the lake: views with the keys of the path, printed in three ways."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from coinbase_assets.candles.datasets import CANDLE_HISTORY, CANDLE_ROLLUP, RAW_CANDLES
from coinbase_assets.candles.series import Series, parse_candle_series
from coinbase_assets.cli.main import main
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.stand_in.tables import candle_table

COUNT = "SELECT product, granularity, count(*) AS n, sum(volume) AS v FROM candle_history"


def candles(day: str, rows: int) -> pa.Table:
    first = datetime.fromisoformat(day).replace(tzinfo=UTC)
    times = [first + timedelta(hours=n) for n in range(rows)]
    return candle_table(times, 1.5)


@pytest.fixture(autouse=True)
def stored(lake: ParquetStore) -> ParquetStore:
    for name, month, rows in (
        ("ETH-EUR:1h", "2024-01", 3),
        ("ETH-EUR:1h", "2024-02", 2),
        ("BTC-USD:1h", "2024-01", 1),
    ):
        path = CANDLE_HISTORY.path(Series.parse(name))
        lake.put(path.format(partition=month), candles(f"{month}-01", rows), None)
    day = RAW_CANDLES.path(Series.parse("ETH-EUR:1h")).format(partition="2024-01-01")
    lake.put(day, candles("2024-01-01", 3), None)
    return lake


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    main(["query", *arguments])
    return capsys.readouterr().out


def test_a_terminal_shows_nothing_but_the_answer() -> None:
    """DuckDB tells what the interpreter does not clean up at its end."""
    program = str(Path(sys.executable).with_name("coinbase-assets"))
    command = [program, "query", "SELECT 1 AS one", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ('{"one": 1}\n', "")


def test_rollups_are_a_view(stored: ParquetStore, capsys: pytest.CaptureFixture[str]) -> None:
    path = CANDLE_ROLLUP.path(parse_candle_series("ETH-EUR:4h"))
    stored.put(path.format(partition="2024-01"), candles("2024-01-01", 1), None)
    told = answer(capsys, "SELECT granularity, month, close FROM candle_rollup", "--csv")
    assert told.splitlines()[1:] == ['"4h","2024-01",1.5']


def test_json_is_an_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    told = answer(capsys, f"{COUNT} GROUP BY ALL ORDER BY n", "--json")
    assert [json.loads(line) for line in told.splitlines()] == [
        {"product": "BTC-USD", "granularity": "1h", "n": 1, "v": 1.5},
        {"product": "ETH-EUR", "granularity": "1h", "n": 5, "v": 7.5},
    ]


def test_csv_has_a_header(capsys: pytest.CaptureFixture[str]) -> None:
    told = answer(capsys, "SELECT time, close FROM raw_candles WHERE date = '2024-01-01'", "--csv")
    head, first, *_ = told.splitlines()
    assert head == '"time","close"'
    assert first.startswith("2024-01-01 00:00:00")
    assert len(told.splitlines()) == 1 + 3


def test_a_table_is_drawn_in_utc(capsys: pytest.CaptureFixture[str]) -> None:
    told = answer(capsys, "SELECT max(time) AS newest FROM candle_history")
    assert "newest" in told
    assert "2024-02-01 01:00:00+00" in told


def test_blobs_of_other_series_are_not_read(
    stored: ParquetStore, capsys: pytest.CaptureFixture[str]
) -> None:
    stored.put_bytes(
        "candle_history/product=XXX-USD/granularity=1h/month=2024-01/candles.parquet", b"?", "text"
    )
    told = answer(
        capsys, f"{COUNT} WHERE product = 'ETH-EUR' AND month = '2024-02' GROUP BY ALL", "--csv"
    )
    assert told.splitlines()[1:] == ['"ETH-EUR","1h",2,3']


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT * FROM candles", "Table with name candles does not exist"),
        ("SELEC", "syntax error"),
    ],
)
def test_what_is_wrong_with_a_statement_is_one_line(
    sql: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["query", sql])
    told = capsys.readouterr().err.strip().splitlines()
    assert end.value.code == 2
    assert said in told[-1]
