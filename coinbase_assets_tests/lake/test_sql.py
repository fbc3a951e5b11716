"""SQL over the lake: views with the keys of the paths, printed in three styles."""

import json
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from coinbase_assets import Lake
from coinbase_assets.candles.catalogue import LISTING_SCHEMA, PRODUCT_SCHEMA
from coinbase_assets.candles.datasets import (
    CANDLE_HISTORY,
    CANDLE_ROLLUP,
    LISTINGS,
    MARKET_HALTS,
    PRODUCTS,
    RAW_CANDLES,
)
from coinbase_assets.candles.series import Series, parse_candle_series
from coinbase_assets.cli.main import main
from coinbase_assets.completeness.halts import HALT_SCHEMA
from coinbase_assets.lake.sql import query
from coinbase_assets.lake.tables import TABLES, LakeTable
from coinbase_assets.storage.errors import BlobDamaged
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


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    main(["query", *arguments])
    return capsys.readouterr().out


def test_query_csv_is_escaped_on_terminal_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sql = "SELECT chr(27) || '[2J' || chr(10) AS text"
    assert printed(capsys, sql, "--csv") == '"text"\n"\x1b[2J\n"\n'
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert printed(capsys, sql, "--csv") == '"text"\n"\\x1b[2J\\n"\n'


def test_query_prints_only_result() -> None:
    """DuckDB warns on standard error about connections left open at the exit."""
    program = str(Path(sys.executable).with_name("coinbase-assets"))
    command = [program, "query", "SELECT 1 AS one", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ('{"one": 1}\n', "")


@pytest.mark.both_addresses
def test_query_rollups(stored: ParquetStore, capsys: pytest.CaptureFixture[str]) -> None:
    path = CANDLE_ROLLUP.path(parse_candle_series("ETH-EUR:4h"))
    stored.put(path.format(partition="2024-01"), candles("2024-01-01", 1), None)
    output = printed(capsys, "SELECT granularity, month, close FROM candle_rollup", "--csv")
    assert output.splitlines()[1:] == ['"4h","2024-01",1.5']


@pytest.mark.both_addresses
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
    assert output.splitlines()[:2] == ['"time","close"', '"2024-01-01T00:00:00Z",1.5']
    assert len(output.splitlines()) == 1 + 3


def test_query_table_is_in_utc(capsys: pytest.CaptureFixture[str]) -> None:
    output = printed(capsys, "SELECT max(time) AS newest FROM candle_history")
    assert "newest" in output
    assert "2024-02-01 01:00:00+00" in output


@pytest.mark.both_addresses
def test_query_skips_blobs_of_other_series(
    stored: ParquetStore, capsys: pytest.CaptureFixture[str]
) -> None:
    stored.put_bytes(
        "candle_history/product=XXX-USD/granularity=1h/month=2024-01/candles.parquet", b"?", "text"
    )
    output = printed(
        capsys, f"{COUNT} WHERE product = 'ETH-EUR' AND month = '2024-02' GROUP BY ALL", "--csv"
    )
    assert output.splitlines()[1:] == ['"ETH-EUR","1h",2,3.0']


def refused(capsys: pytest.CaptureFixture[str], sql: str, *options: str) -> str:
    """Return the last line of the error."""
    with pytest.raises(SystemExit) as end:
        main(["query", sql, *options])
    output = capsys.readouterr()
    assert (end.value.code, output.out) == (2, "")
    return output.err.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT * FROM candles", "Table with name candles does not exist"),
        ("SELEC", "syntax error"),
        ("SELECT ?", "parameter"),
        ("SELECT '\udcff'", "Error: the statement is not UTF-8 text"),
        (
            "SELECT (repeat('[', 9999) || repeat(']', 9999))::JSON AS j",
            "Error: a value is nested too deeply; select parts of it",
        ),
    ],
)
def test_query_error_is_one_line(
    sql: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["query", sql, "--json"])
    output = capsys.readouterr().err.strip().splitlines()
    assert end.value.code == 2
    assert message in output[-1]


def test_query_refuses_huge_table(stored: ParquetStore, capsys: pytest.CaptureFixture[str]) -> None:
    """Often, since DuckDB waited for ever now and then."""
    buffer = BytesIO()
    pq.write_table(pa.table({"close": pa.repeat(pa.scalar(1.5), 5_000_000)}), buffer)
    path = CANDLE_HISTORY.path(Series.parse("XXX-USD:1h")).format(partition="2024-01")
    stored.put_bytes(path, buffer.getvalue(), "parquet")
    with Lake() as lake:
        for _ in range(6):
            with pytest.raises(BlobDamaged, match=f"{path}: takes"):
                query(lake, "SELECT max(close) FROM candle_history", "csv")
    with pytest.raises(SystemExit) as end:
        main(["query", "SELECT max(close) FROM candle_history"])
    assert end.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"Error: {stored.uri(path)}: takes")


@pytest.mark.parametrize(
    "sql",
    [
        "COPY (SELECT 1) TO 'copied.csv'",
        "COPY candle_history TO 'copied.parquet'",
        "EXPORT DATABASE 'exported'",
        "ATTACH 'other.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET threads = 1",
        "RESET threads",
        "PRAGMA threads = 1",
        "USE memory",
        "CREATE TABLE mine (a INTEGER)",
        "CREATE VIEW mine AS SELECT 1",
        "INSERT INTO candle_history SELECT * FROM candle_history",
        "UPDATE candle_history SET close = 1",
        "DELETE FROM candle_history",
        "DROP VIEW candle_history",
        "CALL pragma_version()",
        "BEGIN",
        "VACUUM",
    ],
)
def test_query_refuses_other_statement(
    sql: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    message = refused(capsys, sql)
    assert message.endswith(
        " is not a query: write one SELECT (or WITH, FROM, VALUES),"
        " DESCRIBE, SUMMARIZE, SHOW or EXPLAIN"
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("sql", "count"),
    [
        ("", "no"),
        (" ; ", "no"),
        ("-- SELECT 1", "no"),
        ("/* SELECT 1 */", "no"),
        ("SELECT 1; SELECT 2", "2"),
    ],
)
def test_query_refuses_all_but_one_statement(
    sql: str, count: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(capsys, sql).startswith(f"Error: {count} statements: write one SELECT")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM read_parquet('s3://bucket/a.parquet')",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM sniff_csv('/etc/passwd')",
        "SELECT * FROM 'a.parquet'",
        "SELECT * FROM 'https://example.com/a.csv'",
        "SELECT * FROM parquet_metadata('a.parquet')",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO 'copied.csv'",
    ],
)
def test_query_reads_no_file(sql: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "operations are disabled by configuration" in refused(capsys, sql)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a file in each format."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prices.csv").write_text("price\n1.5\n")
    (tmp_path / "prices.json").write_text('{"price": 1.5}\n')
    pq.write_table(pa.table({"price": [1.5]}), tmp_path / "prices.parquet")
    return tmp_path


@pytest.mark.parametrize("suffix", ["csv", "json", "parquet"])
def test_query_allow_files_reads_local_file(
    suffix: str, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sql = f"SELECT max(close) FROM candle_history, '{files}/prices.{suffix}' WHERE close = price"
    assert printed(capsys, sql, "--csv", "--allow-files").splitlines()[1:] == ["1.5"]


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("COPY (SELECT 1) TO 'copied.csv'", "COPY is not a query"),
        ("EXPORT DATABASE 'exported'", "EXPORT is not a query"),
        ("ATTACH 'other.db'", "ATTACH is not a query"),
        ("SELECT * FROM query('COPY (SELECT 1) TO ''copied.csv''')", "single SELECT statement"),
        ("EXPLAIN ANALYZE COPY (SELECT 1) TO 'copied.csv'", "EXPLAIN could write files"),
        ("SELECT * FROM 'https://example.com/a.csv'", "httpfs"),
        ("SELECT * FROM read_parquet('s3://bucket/a.parquet')", "httpfs"),
        ("INSTALL httpfs", "is not a query"),
        ("SELECT * FROM lake", "Table with name lake does not exist"),
    ],
)
def test_query_allow_files_only_reads_and_only_locally(
    sql: str, message: str, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(files.iterdir())
    assert message in refused(capsys, sql, "--allow-files")
    assert sorted(files.iterdir()) == before


def test_query_reads_no_python_variable(capsys: pytest.CaptureFixture[str]) -> None:
    """Without the setting, DuckDB finds the module's variables and reads tables among them."""
    for name in ("lake", "TABLES", "connection"):
        message = refused(capsys, f"SELECT * FROM {name}")
        assert f"Table with name {name} does not exist" in message


@pytest.mark.parametrize(
    ("sql", "lines"),
    [
        ("WITH one AS (SELECT 1 AS n) SELECT n FROM one", ['"n"', "1"]),
        ("VALUES (1), (2)", ['"col0"', "1", "2"]),
        ("FROM candle_history SELECT count(*) AS n", ['"n"', "6"]),
        ("(SELECT 1 AS n);", ['"n"', "1"]),
        ("-- how many\nSELECT 1 AS n -- one", ['"n"', "1"]),
        ("SELECT name FROM (SHOW TABLES) LIMIT 1", ['"name"', '"candle_coverage"']),
        (
            "SELECT product, n FROM (PIVOT candle_history ON granularity IN ('1h' AS n)"
            " USING count(*) GROUP BY product) ORDER BY n",
            ['"product","n"', '"BTC-USD",1', '"ETH-EUR",5'],
        ),
    ],
)
def test_query_takes_select_in_every_form(
    sql: str, lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert printed(capsys, sql, "--csv").splitlines() == lines


@pytest.mark.parametrize(
    ("sql", "opened"),
    [
        ("SELECT count(*) FROM Candle_History", {"candle_history"}),
        ("FROM market_halts, raw_candles LIMIT 1", {"market_halts", "raw_candles"}),
        ("SHOW TABLES", {*TABLES}),
    ],
)
def test_query_lists_blobs_of_named_tables_only(
    sql: str, opened: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = set[str]()

    def dataset(lake: Lake, kind: str, **options: Any) -> Any:
        kinds.add(kind)
        return open_dataset(lake, kind, **options)

    open_dataset = Lake.dataset
    monkeypatch.setattr(Lake, "dataset", dataset)
    with Lake() as lake:
        query(lake, sql, "csv")
    assert kinds == opened


def test_query_finds_table_whose_name_is_composed(capsys: pytest.CaptureFixture[str]) -> None:
    composed = "SELECT n FROM candle_history, query('SELECT count(*) AS n FROM raw_' || 'candles')"
    assert printed(capsys, f"{composed} LIMIT 1", "--csv") == '"n"\n3\n'


@pytest.mark.parametrize("style", ["--json", "--csv", None])
@pytest.mark.parametrize(
    ("sql", "shown"),
    [
        ("DESCRIBE candle_history", "granularity"),
        ("SUMMARIZE candle_history", "column name"),
        ("SHOW TABLES", "candle rollup"),
        ("EXPLAIN SELECT 1 AS n", "dummy scan"),
        ("EXPLAIN ANALYZE SELECT count(*) FROM candle_history", "arrow scan"),
    ],
)
def test_query_describes_and_explains(
    sql: str, shown: str, style: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    output = printed(capsys, sql, *([style] if style else []))
    assert shown in output.casefold().replace("_", " ")


@pytest.mark.usefixtures("lake")
@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_query_empty_table_has_columns(
    table: LakeTable, lake: ParquetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COINBASE_CONTAINER", "nothing-is-here")
    with Lake() as empty:
        name = table.dataset.name
        assert query(empty, f"SELECT count(*) AS n FROM {name}", "csv") == '"n"\n0\n'
        described = query(empty, f"DESCRIBE {name}", "json").splitlines()
        assert empty.dataset(name).to_table() == table.schema.empty_table()
    columns = {row["column_name"]: row["column_type"] for row in map(json.loads, described)}
    assert list(columns) == table.schema.names
    assert all(columns[key] == "VARCHAR" for key in table.keys)
    assert columns.get("time", "TIMESTAMP WITH TIME ZONE") == "TIMESTAMP WITH TIME ZONE"


@pytest.mark.both_addresses
def test_query_reads_tables_of_all_series(
    stored: ParquetStore, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = datetime(2024, 1, 2, tzinfo=UTC)
    products = [{"id": "ETH-EUR", "trading_disabled": False}]
    listing = [{"first_day": date(2016, 5, 18), "asked_at": asked}]
    halts = [{"start": asked, "end": asked + timedelta(hours=1), "series": "ETH-EUR:1h"}]
    for path, rows, schema in (
        (PRODUCTS.path(), products, PRODUCT_SCHEMA),
        (LISTINGS.path().format(partition="ETH-EUR"), listing, LISTING_SCHEMA),
        (MARKET_HALTS.path().format(partition="2024-01"), halts, HALT_SCHEMA),
    ):
        stored.put(path, pa.Table.from_pylist(rows, schema), None)
    sql = (
        "SELECT id, trading_disabled, first_day, month, series FROM products"
        " JOIN listings ON product = id, market_halts"
    )
    assert json.loads(printed(capsys, sql, "--json")) == {
        "id": "ETH-EUR",
        "trading_disabled": False,
        "first_day": "2016-05-18",
        "month": "2024-01",
        "series": "ETH-EUR:1h",
    }


def test_query_stops_at_ctrl_c(stored: ParquetStore) -> None:
    """Ctrl-C comes whenever DuckDB reads a blob; the query would take hours."""
    code = """
import os, signal
from coinbase_assets.storage.azure_blobs import AzureBlobs
from coinbase_assets.cli.entry import run

read = AzureBlobs.get

def read_at_ctrl_c(self, path, etag=None):
    os.kill(os.getpid(), signal.SIGINT)
    return read(self, path, etag)

AzureBlobs.get = read_at_ctrl_c
run()
"""
    sql = "SELECT count(*) FROM candle_history, range(10000000000000) WHERE range % 7 = 3"
    command = [sys.executable, "-c", code, "query", sql]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (130, "", "")
