"""One year as pandas, by a Polars scan."""

from typing import Any

import pandas  # noqa: F401 (loaded here, so that the first read does not wait for it)
import polars as pl
import pyarrow  # noqa: F401
from timed import serve


def read(
    url: str, key: str, account: str, container: str, folder: str, first: str, last: str, **_: str
) -> Any:
    lake = pl.scan_parquet(
        f"az://{container}/{folder}/**/*.parquet",
        hive_partitioning=True,
        hive_schema={"product": pl.String, "granularity": pl.String, "month": pl.String},
        storage_options={
            "account_name": account,
            "account_key": key,
            "endpoint": url,
            "allow_http": "true",
        },
    )
    of_year = lake.filter(pl.col("month").is_between(pl.lit(first), pl.lit(last)))
    return of_year.select("time", "close").collect().to_pandas()


serve(read)
