"""Where partitions begin if COINBASE_START is not set: the first day that was ever collected."""

from collections.abc import Iterable, Iterator
from datetime import date

import dagster as dg

from coinbase_assets.candles.datasets import RAW_CANDLES
from coinbase_assets.candles.series import Series
from coinbase_assets.dagster_instance.opening import open_instance
from coinbase_assets.environment.first_day import (
    forget_first_day,
    lower_first_day,
    read_first_day,
)
from coinbase_assets.lake.account import open_store
from coinbase_assets.lake.stock import stored_partitions
from coinbase_assets.settings import Settings
from coinbase_assets.storage.parquet_store import ParquetStore


def with_first_day(
    settings: Settings, first: date, instance: dg.DagsterInstance, store: ParquetStore
) -> Settings:
    """Return settings whose partitions begin on `first` or earlier, and remember where.

    At the first time, they begin on the oldest day that the instance or the lake knows, so that no
    earlier partition is lost. If COINBASE_START is set, it holds, and what is remembered is
    forgotten. Raises StorageError.
    """
    home = settings.dagster_home
    if settings.start_is_set:
        forget_first_day(home)
        return settings
    if not read_first_day(home):
        first = min([first, *_known_days(settings.series, instance, store)])
    return settings.model_copy(update={"start": lower_first_day(home, first)})


def remember_first_day(settings: Settings, first: date) -> None:
    """Remember where partitions begin, as `with_first_day`. Raises OSError, StorageError."""
    with (
        open_instance(settings.dagster_home) as instance,
        open_store(settings) as store,
    ):
        with_first_day(settings, first, instance, store)


def _known_days(
    series: Iterable[Series], instance: dg.DagsterInstance, store: ParquetStore
) -> Iterator[date]:
    """Yield the oldest recorded and the oldest stored day of each series."""
    for each in series:
        recorded = instance.get_materialized_partitions(dg.AssetKey(RAW_CANDLES.asset_key(each)))
        for days in (recorded, stored_partitions(store, RAW_CANDLES, each)):
            yield from map(date.fromisoformat, sorted(days)[:1])
