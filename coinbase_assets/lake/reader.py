"""Reading candles from the lake as pandas or Arrow tables, without a running Dagster."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

import pyarrow as pa

from coinbase_assets.candles.blob_rules import LakeRules
from coinbase_assets.candles.datasets import CANDLE_HISTORY, place_of
from coinbase_assets.candles.series import CandleSeries, Series, parse_candle_series
from coinbase_assets.candles.table import SCHEMA
from coinbase_assets.lake.candle_months import stored_series, stream_months
from coinbase_assets.lake.day_states import days_table, explain_bucket
from coinbase_assets.lake.tables import TABLES
from coinbase_assets.lake.time_ranges import Instant, parse_instant, parse_range
from coinbase_assets.storage.blob_source import BlobSource
from coinbase_assets.storage.closable_source import ClosableSource
from coinbase_assets.storage.errors import StorageError
from coinbase_assets.storage.parquet_store import ParquetStore

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow.dataset as ds


def read_candles(
    product: str,
    granularity: str,
    start: Instant,
    end: Instant,
    columns: Sequence[str] | None = None,
) -> "pd.DataFrame":
    """Read candles from the lake that the settings name, as `Lake.read_candles` does."""
    with Lake() as lake:
        return lake.read_candles(product, granularity, start, end, columns)


def read_candles_arrow(
    product: str,
    granularity: str,
    start: Instant,
    end: Instant,
    columns: Sequence[str] | None = None,
) -> pa.Table:
    """Read candles as `read_candles` does, but return a pyarrow Table."""
    with Lake() as lake:
        return lake.read_candles_arrow(product, granularity, start, end, columns)


class Lake:
    """The lake in one container, by default the container that the environment and `.env` name.

    Another Azure account is given by its connection string, or by its URL with a key, a SAS token
    or neither. If nothing names an account, the embedded Azurite runs until `close`. For a storage
    other than Azure, pass a BlobSource as the container. Raises SettingsError, StorageError.
    """

    def __init__(
        self,
        container: str | BlobSource | None = None,
        *,
        connection_string: str = "",
        account_url: str = "",
        account_key: str = "",
        sas_token: str = "",
    ) -> None:
        account = {
            "connection_string": connection_string,
            "account_url": account_url,
            "account_key": account_key,
            "sas_token": sas_token,
        }
        self._resources = ExitStack()
        if container is None or isinstance(container, str):
            from coinbase_assets.lake.account import open_container

            container = self._resources.enter_context(open_container(container, account))
        self._source = ClosableSource(container, self._resources)
        self._resources.callback(self._source.close)
        self._store = ParquetStore(self._source, LakeRules())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections, and stop Azurite if it runs for this lake alone.

        Later reads raise StorageError, also those of open datasets and streams.
        """
        self._resources.close()

    def __repr__(self) -> str:
        return f"Lake({self._store.container_uri})"

    def series(self) -> list[CandleSeries]:
        """Return the series that can be read: those with a history or rollups."""
        return stored_series(self._store)

    def read_candles(
        self,
        product: str,
        granularity: str,
        start: Instant,
        end: Instant,
        columns: Sequence[str] | None = None,
    ) -> "pd.DataFrame":
        """Return the candles whose buckets start from `start` until `end`, ascending.

        Unlike `--to` on the command line, `end` itself is not included. A day stands for its
        midnight; a time without a zone is in UTC. Columns: `time` (start of the bucket, UTC),
        `open`, `high`, `low`, `close` (in the quote currency), `volume` (in the base currency).
        Rollups are read if this granularity was not collected.

        Raises ValueError, SeriesNotFound, StorageError.
        """
        table = self.read_candles_arrow(product, granularity, start, end, columns)
        return table.to_pandas(split_blocks=True, self_destruct=True)

    def read_candles_arrow(
        self,
        product: str,
        granularity: str,
        start: Instant,
        end: Instant,
        columns: Sequence[str] | None = None,
    ) -> pa.Table:
        """Read candles as `read_candles` does, but return a pyarrow Table."""
        tables = list(self.stream_candles(product, granularity, start, end, columns))
        return pa.concat_tables(tables or [SCHEMA.empty_table().select(_check_columns(columns))])

    def stream_candles(
        self,
        product: str,
        granularity: str,
        start: Instant,
        end: Instant,
        columns: Sequence[str] | None = None,
    ) -> Iterator[pa.Table]:
        """Yield the candles as `read_candles` does, a pyarrow Table per month.

        A range of any length needs the memory of a few months.
        """
        series = parse_candle_series(f"{product}:{granularity}")
        names = _check_columns(columns)
        return stream_months(self._store, series, *parse_range(start, end), names)

    def days(self, product: str, granularity: str) -> pa.Table:
        """Return how many buckets of each day are in each state of the ledger: a row a day.

        Columns: `day`, then one for each state, such as `traded` and `no_trades`. Raises
        ValueError, StorageError.
        """
        return days_table(self._store, Series.parse(f"{product}:{granularity}"))

    def why(self, product: str, granularity: str, time: Instant) -> str:
        """Return why the bucket that holds `time` has a candle or none, in one sentence.

        Raises ValueError, StorageError.
        """
        series = Series.parse(f"{product}:{granularity}")
        return str(explain_bucket(self._store, series, parse_instant(time)))

    def dataset(
        self,
        kind: str = CANDLE_HISTORY.name,
        report: Callable[[StorageError], None] | None = None,
    ) -> "ds.Dataset":
        """Return all tables of one kind as a pyarrow dataset, for Polars, DuckDB, Dask and others.

        `kind` is a name in TABLES, for example `candle_history`. The keys in the paths (`product`,
        `granularity`, `month`) are columns, too: a filter on them skips whole blobs. The dataset
        has no rows if nothing of that kind is stored. Raises StorageError, also when the dataset is
        read; ValueError for an unknown kind. A dataset that DuckDB reads needs `report`, which gets
        the StorageErrors, because DuckDB may wait for ever after one that is raised.
        """
        import pyarrow.dataset as ds
        from pyarrow.fs import PyFileSystem

        from coinbase_assets.storage.blob_filesystem import BlobFileSystem

        if kind not in TABLES:
            raise ValueError(f"{kind!r} is not a table of the lake; there are {', '.join(TABLES)}")
        table = TABLES[kind]
        blobs = {
            path: blob
            for path, blob in self._store.survey(table.prefix).items()
            if place_of(path) or path == table.prefix
        }
        damage = {path: blob.damage for path, blob in blobs.items() if blob.damage}
        files = BlobFileSystem(self._source, report, damage)
        self._resources.callback(files.close)
        return ds.dataset(
            list(blobs),
            schema=table.schema,
            format="parquet",
            filesystem=PyFileSystem(files),
            partitioning=ds.partitioning(table.key_schema, flavor="hive"),
        )


def _check_columns(columns: Sequence[str] | None) -> list[str]:
    """Return the names of the columns, by default all. Raises ValueError for unknown names."""
    names = SCHEMA.names if columns is None else list(columns)
    if unknown := [name for name in names if name not in SCHEMA.names]:
        raise ValueError(f"no column {', '.join(unknown)}; there are {', '.join(SCHEMA.names)}")
    return names
