"""SQL over the lake: views with the keys of the paths, printed in three styles."""

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

pytestmark = pytest.mark.both_addresses

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


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    main(["query", *arguments])
    return capsys.readouterr().out


def test_query_prints_only_result() -> None:
    """DuckDB warns on standard error about connections left open at the exit."""
    program = str(Path(sys.executable).with_name("coinbase-assets"))
    command = [program, "query", "SELECT 1 AS one", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ('{"one": 1}\n', "")


def test_query_rollups(stored: ParquetStore, capsys: pytest.CaptureFixture[str]) -> None:
    path = CANDLE_ROLLUP.path(parse_candle_series("ETH-EUR:4h"))
    stored.put(path.format(partition="2024-01"), candles("2024-01-01", 1), None)
    output = printed(capsys, "SELECT granularity, month, close FROM candle_rollup", "--csv")
    assert output.splitlines()[1:] == ['"4h","2024-01",1.5']


def test_query_json_is_object_per_line(capsys: pytest.CaptureFixture[str]) -> None:
    output = printed(capsys, f"{COUNT} GROUP BY ALL ORDER BY n", "--json")
    assert [json.loads(line) for line in output.splitlines()] == [
        {"product": "BTC-USD", "granularity": "1h", "n": 1, "v": 1.5},
        {"product": "ETH-EUR", "granularity": "1h", "n": 5, "v": 7.5},
    ]


def test_query_csv_has_header(capsys: pytest.CaptureFixture[str]) -> None:
    output = printed(
        capsys, "SELECT time, close FROM raw_candles WHERE date = '2024-01-01'", "--csv"
    )
    head, first, *_ = output.splitlines()
    assert head == '"time","close"'
    assert first.startswith("2024-01-01 00:00:00")
    assert len(output.splitlines()) == 1 + 3


def test_query_table_is_in_utc(capsys: pytest.CaptureFixture[str]) -> None:
    output = printed(capsys, "SELECT max(time) AS newest FROM candle_history")
    assert "newest" in output
    assert "2024-02-01 01:00:00+00" in output


def test_query_skips_blobs_of_other_series(
    stored: ParquetStore, capsys: pytest.CaptureFixture[str]
) -> None:
    stored.put_bytes(
        "candle_history/product=XXX-USD/granularity=1h/month=2024-01/candles.parquet", b"?", "text"
    )
    output = printed(
        capsys, f"{COUNT} WHERE product = 'ETH-EUR' AND month = '2024-02' GROUP BY ALL", "--csv"
    )
    assert output.splitlines()[1:] == ['"ETH-EUR","1h",2,3']


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT * FROM candles", "Table with name candles does not exist"),
        ("SELEC", "syntax error"),
    ],
)
def test_query_error_is_one_line(
    sql: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["query", sql])
    output = capsys.readouterr().err.strip().splitlines()
    assert end.value.code == 2
    assert message in output[-1]
