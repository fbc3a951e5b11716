"""One year as pandas, by DuckDB with its own azure extension."""

from typing import Any

import duckdb
import pandas  # noqa: F401 (loaded here, so that the first read does not wait for it)
from duckdb_extensions import import_extension
from reading import answer

import_extension("azure")
CONNECTION = duckdb.connect()
CONNECTION.execute("LOAD azure; SET TimeZone = 'UTC'")


def read(
    connection_string: str, container: str, folder: str, first: str, last: str, **_: str
) -> Any:
    CONNECTION.execute(
        f"CREATE OR REPLACE SECRET lake (TYPE azure, CONNECTION_STRING '{connection_string}')"
    )
    return CONNECTION.execute(
        f"SELECT time, close FROM read_parquet('az://{container}/{folder}/**/*.parquet',"
        " hive_partitioning = true, hive_types = {'month': VARCHAR}) WHERE month BETWEEN ? AND ?",
        [first, last],
    ).df()


answer(read)
