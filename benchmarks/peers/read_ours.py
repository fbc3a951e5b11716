"""One year as pandas, by this project; it opens a lake for each read."""

import os
from typing import Any

import pandas  # noqa: F401 (loaded here, so that the first read does not wait for it)
from timed import serve

from coinbase_assets import read_candles


def read(connection_string: str, container: str, product: str, year: int, **_: str) -> Any:
    os.environ["AZURE_STORAGE_CONNECTION_STRING"] = connection_string
    os.environ["COINBASE_CONTAINER"] = container
    first, end = f"{year}-01-01", f"{year + 1}-01-01"
    return read_candles(product, "1m", first, end, ["time", "close"], allow_gaps=True)


serve(read)
