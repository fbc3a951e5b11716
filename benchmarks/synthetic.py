"""Lakes of made-up candles, stored as the assets store them, without a Dagster run.

Prices walk at random and have 2 decimals, volumes have 8, as most products' do.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from coinbase_assets.candles.calendar import DAY, following_months, month_range
from coinbase_assets.candles.datasets import CANDLE_HISTORY, RAW_CANDLES
from coinbase_assets.candles.days import Day
from coinbase_assets.candles.evidence import Evidence
from coinbase_assets.candles.months import join_days
from coinbase_assets.candles.series import Series
from coinbase_assets.candles.table import TIME_TYPE, clip_candles, conform
from coinbase_assets.storage.azure_blobs import AzureBlobs
from coinbase_assets.storage.client import blob_service
from coinbase_assets.storage.concurrency import map_concurrently
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.conftest import free_port
from coinbase_assets_tests.stand_in.azurite import AZURITE_KEY, azurite_by_hand

ACCOUNT = "devstoreaccount1"
_SOURCE = "https://api.exchange.coinbase.com"


@dataclass(frozen=True)
class Account:
    """An emulator's storage account that listens on a port of this machine."""

    port: int
    key: str = AZURITE_KEY

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/{ACCOUNT}"

    @property
    def connection_string(self) -> str:
        return f"AccountName={ACCOUNT};AccountKey={self.key};BlobEndpoint={self.url};"

    @contextmanager
    def store(self, container: str) -> Iterator[ParquetStore]:
        with blob_service(self.connection_string) as service:
            yield ParquetStore(AzureBlobs(service, container))


@contextmanager
def temporary_account() -> Iterator[Account]:
    """An Azurite of its own, whose blobs are gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        account = Account(free_port())
        with azurite_by_hand(Path(folder), account.port):
            yield account


def months(first: str, count: int) -> list[str]:
    """The keys of so many months from the `first` on."""
    return list(following_months(first, count))


def raw_days(series: Series, month: str) -> Mapping[str, pa.Table]:
    """The settled raw days of a month, by their keys."""
    start, end = month_range(month)
    candles = random_candles(series, start, end)
    starts = [start + number * DAY for number in range((end - start) // DAY)]
    return {f"{one:%F}": _raw_day(series, one, candles) for one in starts}


def random_candles(series: Series, start: datetime, end: datetime) -> pa.Table:
    """A candle for every bucket; the same ones for the same start."""
    numbers = np.random.default_rng(int(start.timestamp()))
    rows = (end - start) // series.granularity.delta
    times = np.datetime64(start.replace(tzinfo=None), "us") + np.arange(rows) * np.timedelta64(
        series.granularity.delta
    )
    steps = numbers.normal(scale=0.0005, size=rows)
    closes = np.round(2500 * np.exp(steps.cumsum()), 2)
    opens = np.append(closes[:1], closes[:-1])
    wicks = np.round(np.abs(numbers.normal(scale=0.5, size=(2, rows))), 2)
    highs = np.round(np.maximum(opens, closes) + wicks[0], 2)
    lows = np.round(np.minimum(opens, closes) - wicks[1], 2)
    volumes = np.round(numbers.lognormal(1, 1.5, rows), 8)
    prices = {"open": opens, "high": highs, "low": lows, "close": closes}
    table = pa.table({"time": pa.array(times, TIME_TYPE), **prices, "volume": volumes})
    return conform(table)


def _raw_day(series: Series, start: datetime, candles: pa.Table) -> pa.Table:
    asked = start + 3 * DAY + timedelta(hours=1)
    evidence = Evidence(asked, "the 1h candles agree")
    part = clip_candles(candles, start, start + DAY)
    return Day(series, start, part, asked, asked, start, start + DAY, 6, evidence).to_table(_SOURCE)


def history_of(series: Series, month: str, days: Mapping[str, pa.Table]) -> pa.Table:
    return join_days(series, month, days, len(days), RAW_CANDLES.name)


def store_history(store: ParquetStore, series: Series, keys: Sequence[str]) -> None:
    """Store the months' history, but not their raw days."""
    template = CANDLE_HISTORY.path(series)

    def put(month: str) -> None:
        table = history_of(series, month, raw_days(series, month))
        store.put(template.format(partition=month), table, None)

    for _ in map_concurrently(put, keys):
        pass
