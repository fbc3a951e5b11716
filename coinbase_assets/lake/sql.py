"""SQL queries over the lake, run by DuckDB. Each kind of partitioned table is a view."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress

import duckdb
import pyarrow as pa
from pyarrow import csv

from coinbase_assets.candles.datasets import (
    CANDLE_COVERAGE,
    CANDLE_HISTORY,
    CANDLE_REVISIONS,
    CANDLE_ROLLUP,
    RAW_CANDLES,
)
from coinbase_assets.lake.errors import SeriesNotFound
from coinbase_assets.lake.reader import Lake
from coinbase_assets.storage.errors import without_signature

VIEWS = tuple(
    dataset.name
    for dataset in (CANDLE_HISTORY, CANDLE_ROLLUP, RAW_CANDLES, CANDLE_COVERAGE, CANDLE_REVISIONS)
)


class QueryError(Exception):
    """DuckDB refused the statement or failed to run it; the message is DuckDB's own."""


def query(lake: Lake, sql: str, style: str) -> str:
    """Run the statement and return its result as text.

    `style` is `table`, `json` (an object per line) or `csv`. The views have the tables' columns and
    the keys in the paths: `product`, `granularity`, and `month` or `date`. A filter on a key skips
    whole blobs. Raises QueryError, StorageError.
    """
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for view in VIEWS:
            with suppress(SeriesNotFound):
                connection.register(view, lake.dataset(view))
        try:
            result = connection.sql(sql)
            return _STYLES[style](result) if result else ""
        except duckdb.Error as error:
            raise QueryError(without_signature(" ".join(str(error).split()))) from None


def _as_table(result: duckdb.DuckDBPyRelation) -> str:
    return str(result)


def _as_json(result: duckdb.DuckDBPyRelation) -> str:
    rows = result.to_arrow_table().to_pylist()
    return "".join(f"{json.dumps(row, default=str)}\n" for row in rows)


def _as_csv(result: duckdb.DuckDBPyRelation) -> str:
    buffer = pa.BufferOutputStream()
    csv.write_csv(result.to_arrow_table(), buffer)
    return buffer.getvalue().to_pybytes().decode()


_STYLES: Mapping[str, Callable[[duckdb.DuckDBPyRelation], str]] = {
    "table": _as_table,
    "json": _as_json,
    "csv": _as_csv,
}
