"""Reading the history and rollups: one line to pandas or Arrow, without a running Dagster."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, date, datetime, time
from itertools import chain
from typing import TYPE_CHECKING, Self

import pyarrow as pa

from coinbase_assets.candles.calendar import months_between
from coinbase_assets.candles.datasets import CANDLE_HISTORY, CANDLE_ROLLUP, Dataset
from coinbase_assets.candles.series import CandleSeries, parse_candle_series
from coinbase_assets.candles.table import SCHEMA, clip_candles, conform
from coinbase_assets.lake.errors import SeriesNotFound
from coinbase_assets.setting_values import DEVELOPMENT_STORAGE
from coinbase_assets.settings import load_settings
from coinbase_assets.storage.client import arrow_filesystem, blob_service
from coinbase_assets.storage.concurrency import map_concurrently
from coinbase_assets.storage.errors import PartitionMissing, StorageError, without_signature
from coinbase_assets.storage.parquet_store import ParquetStore

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow.dataset as ds

Instant = str | date | datetime

# Months downloaded at a time: a year's then cost the latency of one.
_AT_A_TIME = 12
# To ask for so many months, of which some may be missing, is faster than to list them first.
_MOST_UNLISTED = 24


def read_candles(
    product: str,
    granularity: str,
    start: Instant,
    end: Instant,
    columns: Sequence[str] | None = None,
) -> "pd.DataFrame":
    """The candles of a series that begin from `start` to before `end`, as Lake.read_candles."""
    with Lake() as lake:
        return lake.read_candles(product, granularity, start, end, columns)


def read_candles_arrow(
    product: str,
    granularity: str,
    start: Instant,
    end: Instant,
    columns: Sequence[str] | None = None,
) -> pa.Table:
    """The same as a pyarrow Table."""
    with Lake() as lake:
        return lake.read_candles_arrow(product, granularity, start, end, columns)


def stored_series(store: ParquetStore) -> list[CandleSeries]:
    """The series whose history is in the store, and the rollups."""
    blobs = (path for one in (CANDLE_HISTORY, CANDLE_ROLLUP) for path in store.list(one.folder()))
    folders = {tuple(path.split("/")[1:3]) for path in blobs}
    names = (":".join(part.partition("=")[2] for part in folder) for folder in folders)
    return sorted(
        map(parse_candle_series, names), key=lambda one: (one.product, one.granularity.seconds)
    )


class Lake:
    """The lake in a storage account's container, by default that of the environment and `.env`.

    Another account is given by its connection string, or its URL with a key, a SAS token or
    neither. Where nothing names an account it is the embedded Azurite, which runs until `close`.
    Raises SettingsError, StorageError.
    """

    def __init__(
        self,
        container: str | None = None,
        *,
        connection_string: str = "",
        account_url: str = "",
        account_key: str = "",
        sas_token: str = "",
    ) -> None:
        settings = load_settings()
        account = {
            "connection_string": connection_string,
            "account_url": account_url,
            "account_key": account_key,
            "sas_token": sas_token,
        }
        if not (connection_string or account_url):
            account = settings.storage_account
        with ExitStack() as closing:
            if not (account.get("connection_string") or account["account_url"]):
                from coinbase_assets.lake.account import running_embedded_azurite

                closing.enter_context(running_embedded_azurite())
                account = {"connection_string": DEVELOPMENT_STORAGE}
            self._service = closing.enter_context(blob_service(**account))
            self._container = container or settings.container
            self._store = ParquetStore(self._service, self._container)
            self._closing = closing.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._closing.close()

    def __repr__(self) -> str:
        return f"Lake({self._store.container_uri})"

    def series(self) -> list[CandleSeries]:
        """The series whose history is in the lake, and the rollups: what can be read."""
        return stored_series(self._store)

    def read_candles(
        self,
        product: str,
        granularity: str,
        start: Instant,
        end: Instant,
        columns: Sequence[str] | None = None,
    ) -> "pd.DataFrame":
        """The candles that begin from `start` to before `end`, ascending, as a pandas DataFrame.

        The range is half-open, unlike the command line's days: `end` itself is left out. Days are
        their midnight, times without a zone are UTC. Columns: `time` (the bucket's start, UTC),
        `open`, `high`, `low`, `close` (in the quote currency), `volume` (in the base currency).
        A granularity that was not collected is read from the rollups.

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
        """The same as a pyarrow Table."""
        tables = list(self.stream_candles(product, granularity, start, end, columns))
        return pa.concat_tables(tables or [SCHEMA.empty_table().select(_known(columns))])

    def stream_candles(
        self,
        product: str,
        granularity: str,
        start: Instant,
        end: Instant,
        columns: Sequence[str] | None = None,
    ) -> Iterator[pa.Table]:
        """The same a month at a time, in the memory of a few months."""
        series = parse_candle_series(f"{product}:{granularity}")
        names = _known(columns)
        first, last = _instant("start", start), _instant("end", end)
        if first > last:
            raise ValueError(f"start {first} is after end {last}")
        return self._stream(series, first, last, names)

    def _stream(
        self, series: CandleSeries, first: datetime, last: datetime, names: Sequence[str]
    ) -> Iterator[pa.Table]:
        wanted = months_between(first, last)
        read = list(dict.fromkeys(["time", *names]))

        def load(path: str) -> pa.Table | None:
            try:
                table = self._store.get(path, read)
            except PartitionMissing:
                return None
            return clip_candles(conform(table, read), first, last).select(names)

        def stream(dataset: Dataset, months: Sequence[str]) -> Iterator[pa.Table]:
            template = dataset.path(series)
            paths = [template.format(partition=month) for month in months]
            return (
                table for table in map_concurrently(load, paths, _AT_A_TIME) if table is not None
            )

        if len(wanted) <= _MOST_UNLISTED:
            collected = stream(CANDLE_HISTORY, wanted)
            if (one := next(collected, None)) is not None:
                yield from chain([one], collected)
                return
        dataset, stored = self._stored_months(series)
        yield from stream(dataset, sorted({*wanted} & {*stored}))

    def _stored_months(self, series: CandleSeries) -> tuple[Dataset, Collection[str]]:
        """What was collected goes before what was rolled up. Raises SeriesNotFound."""
        for dataset in (CANDLE_HISTORY, CANDLE_ROLLUP):
            if months := self._store.list_partitions(dataset.folder(series)):
                return dataset, months
        listed = ", ".join(map(str, self.series())) or "no history; collect some first"
        raise SeriesNotFound(f"{series}: not in the lake; it holds {listed}")

    def dataset(self, kind: str = CANDLE_HISTORY.name) -> "ds.Dataset":
        """All of a kind of asset as a pyarrow dataset, for Polars, DuckDB, Dask and the like.

        The keys of the path, such as `product`, `granularity` and `month`, are columns, by which
        blobs are left out unread. Raises SeriesNotFound if there is none of that kind.
        """
        import pyarrow.dataset as ds

        blobs = self._store.list(f"{kind}/")
        if not blobs:
            raise SeriesNotFound(f"{kind}: not in the lake; collect some first")
        keys = [part.partition("=")[0] for part in min(blobs).split("/")[1:-1]]
        partitioning = ds.partitioning(
            pa.schema([(key, pa.string()) for key in keys]), flavor="hive"
        )
        try:
            return ds.dataset(
                [f"{self._container}/{path}" for path in sorted(blobs)],
                format="parquet",
                filesystem=arrow_filesystem(self._service),
                partitioning=partitioning,
            )
        except OSError as error:
            # Not chained: Arrow names the URL, which may hold a SAS.
            raise StorageError(without_signature(f"{self._store.uri(kind)}: {error}")) from None


def _instant(name: str, value: Instant) -> datetime:
    """The instant in UTC; a day is its midnight. Raises ValueError."""
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        rule = "not a time; write 2024-01-31 or 2024-01-31T12:00"
        raise ValueError(f"{name}={value!r}: {rule}") from None
    if not isinstance(found, datetime):
        found = datetime.combine(found, time())
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def _known(columns: Sequence[str] | None) -> list[str]:
    names = SCHEMA.names if columns is None else list(columns)
    if unknown := [name for name in names if name not in SCHEMA.names]:
        raise ValueError(f"no column {', '.join(unknown)}; there are {', '.join(SCHEMA.names)}")
    return names
