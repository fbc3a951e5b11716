"""Reading candles from the lake as pandas or Arrow tables, without a running Dagster."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import wraps
from inspect import signature
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, Self, TypeVar, overload

import pyarrow as pa

from coinbase_assets.candles.blob_rules import LakeRules
from coinbase_assets.candles.datasets import CANDLE_HISTORY, place_of
from coinbase_assets.candles.filling import Fill
from coinbase_assets.candles.series import CandleSeries
from coinbase_assets.candles.table import SCHEMA
from coinbase_assets.lake.candle_months import stored_series
from coinbase_assets.lake.candle_stream import stream_months
from coinbase_assets.lake.day_states import days_table, explain_bucket
from coinbase_assets.lake.errors import InvalidRequest
from coinbase_assets.lake.frames import Library, one_column_a_product, to_library
from coinbase_assets.lake.holdings import Holding, stored_holdings
from coinbase_assets.lake.requests import (
    Products,
    check_columns,
    check_fill,
    check_library,
    collected,
    parse_series,
    parse_several,
)
from coinbase_assets.lake.tables import TABLES
from coinbase_assets.lake.time_ranges import Instant, parse_instant, parse_range
from coinbase_assets.storage.blob_source import BlobSource
from coinbase_assets.storage.closable_source import ClosableSource
from coinbase_assets.storage.errors import StorageError
from coinbase_assets.storage.parquet_store import ParquetStore

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow.dataset as ds

Columns = Sequence[str] | Literal["product"]
"""Names of columns; or "product", for a column a product of every value."""


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

    def holdings(self) -> list[Holding]:
        """Return what is stored of each series: candles, first and last, missing days, bytes."""
        return stored_holdings(self._store)

    @overload
    def read_candles(
        self,
        product: Products,
        granularity: str | None = None,
        start: Instant | None = None,
        end: Instant | None = None,
        columns: Columns | None = None,
        *,
        fill: Fill | None = None,
        as_: Literal["pandas"] = "pandas",
        allow_gaps: bool = False,
    ) -> "pd.DataFrame": ...

    @overload
    def read_candles(
        self,
        product: Products,
        granularity: str | None = None,
        start: Instant | None = None,
        end: Instant | None = None,
        columns: Columns | None = None,
        *,
        fill: Fill | None = None,
        as_: Library,
        allow_gaps: bool = False,
    ) -> Any: ...

    def read_candles(
        self,
        product: Products,
        granularity: str | None = None,
        start: Instant | None = None,
        end: Instant | None = None,
        columns: Columns | None = None,
        *,
        fill: Fill | None = None,
        as_: Library = "pandas",
        allow_gaps: bool = False,
    ) -> Any:
        """Read candles, ascending by time.

        `read_candles("BTC-USD:1h")` and `read_candles("BTC-USD", "1h", start, end)` read a series,
        `read_candles(["BTC-USD", "ETH-USD"], "1h")` several, with `product` as the first column.
        The candles are those whose buckets start from `start` until `end`; by default, all that
        are stored. Unlike `--to` on the command line, `end` itself is not included. A day stands
        for its midnight; a time without a zone is in UTC.

        `columns`: by default `time` (start of the bucket, UTC), `open`, `high`, `low`, `close` (in
        the quote currency), `volume` (in the base currency). `columns="product"` gives a pandas
        DataFrame with the time as its index, and a column for each value and product.

        If this granularity was neither collected nor rolled up, its candles are made of shorter
        candles, and left out where a part was not collected. With `fill`, every collected bucket
        has a row: "previous" repeats the last close, with volume 0, and "nan" is NaN. `as_` is
        "pandas", "polars", "arrow" (a pyarrow Table) or "duckdb" (a relation).

        Raises CandlesMissing if days of the range were not collected, unless `allow_gaps`;
        SeriesNotFound, InvalidRequest, StorageError.
        """
        is_wide = columns == "product"
        if is_wide and as_ != "pandas":
            raise InvalidRequest(f"columns='product', as_={as_!r}: only pandas has such columns")
        check_library(as_)
        table = self.read_candles_arrow(
            [product] if is_wide and isinstance(product, str | CandleSeries) else product,
            granularity,
            start,
            end,
            None if is_wide else columns,
            fill=fill,
            allow_gaps=allow_gaps,
        )
        return one_column_a_product(table) if is_wide else to_library(table, as_)

    def read_candles_arrow(
        self,
        product: Products,
        granularity: str | None = None,
        start: Instant | None = None,
        end: Instant | None = None,
        columns: Sequence[str] | None = None,
        *,
        fill: Fill | None = None,
        allow_gaps: bool = False,
    ) -> pa.Table:
        """Read candles as `read_candles` does, but return a pyarrow Table."""
        tables = []
        for series in parse_several(product, granularity):
            months = self.stream_candles(
                series, None, start, end, columns, fill=fill, allow_gaps=allow_gaps
            )
            empty = SCHEMA.empty_table().select(check_columns(columns))
            table = pa.concat_tables([empty, *months])
            if not isinstance(product, str | CandleSeries):
                names = pa.repeat(series.product, table.num_rows)
                table = table.add_column(0, pa.field("product", pa.string()), names)
            tables.append(table)
        return pa.concat_tables(tables)

    def stream_candles(
        self,
        product: str | CandleSeries,
        granularity: str | None = None,
        start: Instant | None = None,
        end: Instant | None = None,
        columns: Sequence[str] | None = None,
        *,
        fill: Fill | None = None,
        allow_gaps: bool = False,
    ) -> Iterator[pa.Table]:
        """Yield the candles of a series as `read_candles` does, a pyarrow Table per month.

        A range of any length needs the memory of a few months. CandlesMissing is raised at the end.
        """
        series, names = parse_series(product, granularity), check_columns(columns)
        first, last = parse_range(start, end)
        return stream_months(self._store, series, first, last, names, check_fill(fill), allow_gaps)

    def days(self, product: str | CandleSeries, granularity: str | None = None) -> pa.Table:
        """Return how many buckets of each day are in each state of the ledger: a row a day.

        Columns: `day`, then one for each state, such as `traded` and `no_trades`. Raises
        InvalidRequest, StorageError.
        """
        return days_table(self._store, collected(parse_series(product, granularity)))

    def why(
        self,
        product: str | CandleSeries,
        granularity: Instant | None = None,
        time: Instant | None = None,
    ) -> str:
        """Return why the bucket that holds `time` has a candle or none, in one sentence.

        `why("BTC-USD:1m", time)` and `why("BTC-USD", "1m", time)` are the same. Raises
        InvalidRequest, StorageError.
        """
        if time is None:
            granularity, time = None, granularity
        series = collected(parse_series(product, granularity))
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


P = ParamSpec("P")
Result = TypeVar("Result")


def _of_settings(method: Callable[Concatenate[Lake, P], Result]) -> Callable[P, Result]:
    """Return the method as a function that reads the lake that the settings name."""

    @wraps(method)
    def read(*arguments: P.args, **options: P.kwargs) -> Result:
        with Lake() as lake:
            return method(lake, *arguments, **options)

    _, *parameters = signature(method).parameters.values()
    vars(read)["__signature__"] = signature(method).replace(parameters=parameters)
    return read


read_candles = _of_settings(Lake.read_candles)
read_candles_arrow = _of_settings(Lake.read_candles_arrow)
