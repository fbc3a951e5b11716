"""One year as pandas, by a pyarrow dataset over its AzureFileSystem."""

from typing import Any
from urllib.parse import urlsplit

import pandas  # noqa: F401 (loaded here, so that the first read does not wait for it)
import pyarrow as pa
import pyarrow.dataset as ds
from pyarrow.fs import AzureFileSystem
from timed import serve

KEYS = pa.schema([("product", pa.string()), ("granularity", pa.string()), ("month", pa.string())])


def read(
    url: str, key: str, account: str, container: str, folder: str, first: str, last: str, **_: str
) -> Any:
    host = urlsplit(url).netloc
    filesystem = AzureFileSystem(
        account,
        account_key=key,
        blob_storage_authority=host,
        blob_storage_scheme="http",
        dfs_storage_authority=host,
        dfs_storage_scheme="http",
    )
    dataset = ds.dataset(
        f"{container}/{folder}",
        format="parquet",
        filesystem=filesystem,
        partitioning=ds.partitioning(KEYS, flavor="hive"),
    )
    of_year = (ds.field("month") >= first) & (ds.field("month") <= last)
    return dataset.to_table(["time", "close"], filter=of_year).to_pandas()


serve(read)
