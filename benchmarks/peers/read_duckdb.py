"""One year as pandas, by DuckDB with its own azure extension, out of a package."""

import warnings
from typing import Any

import duckdb
import pandas  # noqa: F401 (loaded here, so that the first read does not wait for it)
from duckdb_extensions import import_extension
from timed import serve

warnings.simplefilter("ignore")  # DuckDB's own call of pandas.
import_extension("azure")
KEPT = duckdb.connect()


def read(
    connection_string: str, container: str, folder: str, first: str, last: str, **options: Any
) -> Any:
    """From the storage; with `again` from a connection that caches what it has read before."""
    connection = KEPT if options.get("again") else duckdb.connect()
    connection.execute("LOAD azure; SET TimeZone = 'UTC'")
    connection.execute(
        f"CREATE OR REPLACE SECRET lake (TYPE azure, CONNECTION_STRING '{connection_string}')"
    )
    return connection.execute(
        f"SELECT time, close FROM read_parquet('az://{container}/{folder}/**/*.parquet',"
        " hive_partitioning = true, hive_types = {'month': VARCHAR}) WHERE month BETWEEN ? AND ?",
        [first, last],
    ).df()


serve(read)
