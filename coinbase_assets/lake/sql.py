"""SQL over the lake, by DuckDB: a view of each kind of asset that is stored a partition a blob."""

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
    """What DuckDB says of the statement."""


def query(lake: Lake, sql: str, style: str) -> str:
    """The answer as a `table`, as `json`, an object a line, or as `csv`. Raises QueryError.

    The views have the columns of the blobs, and `product`, `granularity` and `month` or `date`, by
    which blobs are left out unread.
    """
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for view in VIEWS:
            with suppress(SeriesNotFound):
                connection.register(view, lake.dataset(view))
        try:
            answer = connection.sql(sql)
            return _STYLES[style](answer) if answer else ""
        except duckdb.Error as error:
            raise QueryError(without_signature(" ".join(str(error).split()))) from None


def _as_table(answer: duckdb.DuckDBPyRelation) -> str:
    return str(answer)


def _as_json(answer: duckdb.DuckDBPyRelation) -> str:
    rows = answer.to_arrow_table().to_pylist()
    return "".join(f"{json.dumps(row, default=str)}\n" for row in rows)


def _as_csv(answer: duckdb.DuckDBPyRelation) -> str:
    buffer = pa.BufferOutputStream()
    csv.write_csv(answer.to_arrow_table(), buffer)
    return buffer.getvalue().to_pybytes().decode()


_STYLES: Mapping[str, Callable[[duckdb.DuckDBPyRelation], str]] = {
    "table": _as_table,
    "json": _as_json,
    "csv": _as_csv,
}
