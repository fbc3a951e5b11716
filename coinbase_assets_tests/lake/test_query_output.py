"""Results of queries as text: every type of DuckDB in every style, read back with its values."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

import duckdb
import pytest

from coinbase_assets.lake.query_output import STYLES, as_csv, as_json

EVERY_TYPE = "SELECT * FROM test_all_types()"
NESTED = ("list", "array", "tuple", "map", "struct", "union")


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def strict(line: str) -> Any:
    """Return the value of JSON text, which may hold neither NaN nor repeated names."""

    def refuse(found: object) -> Any:
        raise ValueError(f"{found} is not JSON")

    def unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        return dict(pairs) if len(dict(pairs)) == len(pairs) else refuse(pairs)

    return json.loads(line, parse_constant=refuse, object_pairs_hook=unique)


def json_rows(connection: duckdb.DuckDBPyConnection, sql: str) -> list[Any]:
    return [strict(line) for line in as_json(connection.sql(sql)).splitlines()]


def cells(connection: duckdb.DuckDBPyConnection, sql: str) -> list[list[str]]:
    """Return the rows of CSV, without the header."""
    return list(csv.reader(io.StringIO(as_csv(connection.sql(sql)))))[1:]


@pytest.mark.parametrize("style", STYLES)
def test_every_type_alone_in_every_style(style: str, connection: duckdb.DuckDBPyConnection) -> None:
    for name in connection.sql(EVERY_TYPE).columns:
        assert STYLES[style](connection.sql(f'SELECT "{name}" FROM test_all_types()'))


def test_json_of_every_type_is_strict(connection: duckdb.DuckDBPyConnection) -> None:
    rows = json_rows(connection, EVERY_TYPE)
    assert [list(row) for row in rows] == [connection.sql(EVERY_TYPE).columns] * 3
    assert set(rows[2].values()) == {None}
    numbers = [value for row in rows for value in row.values() if type(value) is int]
    assert max(map(abs, numbers)) <= 2**53


def test_csv_of_every_type_reads_back(connection: duckdb.DuckDBPyConnection) -> None:
    result, rows = connection.sql(EVERY_TYPE), cells(connection, EVERY_TYPE)
    for number, (name, kind) in enumerate(zip(result.columns, result.types, strict=True)):
        texts = [row[number] for row in rows]
        assert texts[2] == "", name
        if kind.id in NESTED:
            assert all(isinstance(strict(text), list | dict) for text in texts[:2]), name
            continue
        values = connection.sql(f'SELECT "{name}" FROM test_all_types() LIMIT 2')
        read = connection.sql(f"SELECT unnest($1)::{kind}", params=[texts[:2]])
        assert str(read.fetchall()) == str(values.fetchall()), name


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("9007199254740992", 2**53),
        ("9007199254740993", "9007199254740993"),
        ("-9007199254740993", "-9007199254740993"),
        ("(SELECT sum(n) FROM range(4) t(n))", 6),
        ("(SELECT sum(9007199254740993::HUGEINT))", "9007199254740993"),
        ("1.10::DECIMAL(4, 2)", 1.1),
        ("0.1234567890123456789::DECIMAL(30, 19)", "0.1234567890123456789"),
        ("'nan'::DOUBLE", None),
        ("'-inf'::FLOAT", None),
        ("['nan'::DOUBLE, 1.5]", [None, 1.5]),
        ("{'a': ['inf'::FLOAT], 'b': 9007199254740993}", {"a": [None], "b": "9007199254740993"}),
        ('\'{"a": 1e999, "b": NaN}\'::JSON', {"a": "1e999", "b": None}),
        ("TIMESTAMPTZ '2024-01-02 03:04:05.5+01'", "2024-01-02T02:04:05.5Z"),
        ("TIMESTAMP '2024-01-02 03:04:05'", "2024-01-02T03:04:05"),
        ("TIMESTAMP_NS '2024-01-02 03:04:05.000000001'", "2024-01-02T03:04:05.000000001"),
        ("[{'t': TIMESTAMP '2024-01-02'}]", [{"t": "2024-01-02T00:00:00"}]),
        (
            "MAP {TIMESTAMPTZ '2024-01-02': [DATE '2024-01-02']}",
            {"2024-01-02T00:00:00Z": ["2024-01-02"]},
        ),
        ("union_value(at := TIMESTAMP '2024-01-02')", {"at": "2024-01-02T00:00:00"}),
        ("[TIMESTAMP '2024-01-02']::TIMESTAMP[1]", ["2024-01-02T00:00:00"]),
        ("'infinity'::TIMESTAMP", "infinity"),
        ("'2024-01-02 00:00:00'", "2024-01-02 00:00:00"),
        ("INTERVAL 36 HOUR", "36:00:00"),
        ("TIMETZ '12:00:00+02'", "12:00:00+02"),
        ("'\\xFF'::BLOB", "\\xFF"),
        ("'101'::BIT", "101"),
        ("row(1, TIMESTAMP '2024-01-02')", [1, "2024-01-02T00:00:00"]),
        ("[row('a')]", [["a"]]),
        ("NULL", None),
        ("NULL::TIMESTAMP[]", None),
        ("[NULL, TIMESTAMP '2024-01-02']", [None, "2024-01-02T00:00:00"]),
    ],
)
def test_json_value(value: str, text: object, connection: duckdb.DuckDBPyConnection) -> None:
    assert json_rows(connection, f"SELECT {value} AS value") == [{"value": text}]


def test_csv_tells_null_from_empty_text(connection: duckdb.DuckDBPyConnection) -> None:
    result = connection.sql("SELECT NULL AS a, '' AS b, 'say \"x\", \n' AS c, true AS d")
    assert as_csv(result) == '"a","b","c","d"\n,"","say ""x"", \n",true\n'


def test_csv_keeps_numbers(connection: duckdb.DuckDBPyConnection) -> None:
    sql = "SELECT 9223372036854775807 AS a, 'nan'::DOUBLE AS b, 1e-300 AS c, 3.0::DOUBLE AS d"
    assert cells(connection, sql) == [["9223372036854775807", "nan", "1e-300", "3.0"]]


def test_csv_nested_value_is_json(connection: duckdb.DuckDBPyConnection) -> None:
    ((text,),) = cells(connection, "SELECT {'a': [1, NULL], 'b': 'x,\"y\"', 'c': 'nan'::FLOAT}")
    assert strict(text) == {"a": [1, None], "b": 'x,"y"', "c": None}


def test_repeated_names_get_suffix_of_duckdb(connection: duckdb.DuckDBPyConnection) -> None:
    """DuckDB's own data frames have these names."""
    result = connection.sql("SELECT 1 AS close, 2 AS close, 3 AS Close, 4 AS close_1")
    names = ["close", "close_1", "Close_2", "close_1_1"]
    assert list(result.df().columns) == names
    assert strict(as_json(result)) == dict(zip(names, [1, 2, 3, 4], strict=True))
    assert next(csv.reader(io.StringIO(as_csv(result)))) == names


@pytest.mark.parametrize(("style", "text"), [("json", ""), ("csv", '"a","b"\n')])
def test_result_without_rows(style: str, text: str, connection: duckdb.DuckDBPyConnection) -> None:
    assert STYLES[style](connection.sql("SELECT 1 AS a, [1] AS b WHERE false")) == text


def test_result_keeps_order(connection: duckdb.DuckDBPyConnection) -> None:
    sql = "SELECT n, [n] AS l FROM range(20000) t(n) ORDER BY n DESC"
    assert [row["n"] for row in json_rows(connection, sql)] == list(range(19_999, -1, -1))
