"""One year as pandas, by pandas over adlfs."""

from typing import Any

import adlfs  # noqa: F401 (loaded here, so that the first read does not wait for it)
import pandas as pd
import pyarrow.dataset
import pyarrow.parquet  # noqa: F401
from timed import serve


def read(
    connection_string: str, container: str, folder: str, first: str, last: str, **_: str
) -> Any:
    return pd.read_parquet(
        f"abfs://{container}/{folder}",
        columns=["time", "close"],
        filters=[("month", ">=", first), ("month", "<=", last)],
        storage_options={"connection_string": connection_string},
    )


serve(read)
