"""Days collected and healed from a stand-in exchange that has lost candles, beside the truth.

Times are epoch seconds, UTC.
"""

import itertools
import os
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import dagster as dg
import numpy as np
import pyarrow.compute as pc

from benchmarks.lossy_books import Case
from benchmarks.processes import azurite
from coinbase_assets.automation.collector import Collector
from coinbase_assets.automation.healing import plan_healing, plan_trades
from coinbase_assets.automation.plans import Plan
from coinbase_assets.candles.series import Series
from coinbase_assets.lake.reader import Lake
from coinbase_assets.lake.status import series_status
from coinbase_assets.settings import Settings, load_settings
from coinbase_assets.storage.azure_blobs import AzureBlobs
from coinbase_assets.storage.client import blob_service
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.processes import instance_at, process_environment, quiet_instance
from coinbase_assets_tests.running import asset_job
from coinbase_assets_tests.stand_in.exchange import StandInExchange

_ONE_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Found:
    """What the lake holds after the commands.

    `states` has the ledger's word for each bucket, `rows` the stored candles, by their starts, in
    the exchange's order of columns. `disagreeing` are the keys of days whose coarser candles show
    more. `requests` counts those of each command.
    """

    states: Mapping[int, str]
    rows: Mapping[int, Sequence[float]]
    disagreeing: Collection[str]
    requests: Sequence[int]


@dataclass(frozen=True)
class Workplace:
    """A Dagster instance and an Azurite that collections share, each with its own product."""

    instance: dg.DagsterInstance
    store: ParquetStore
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def collect(self, case: Case, heal: bool = True) -> Found:
        """Collect the days, then heal them, or collect them again. Lost at every level: by trades.

        Raises AssertionError if a day could not be collected.
        """
        product = f"CASE{next(self._numbers)}-EUR"
        markets, trades = {product: case.market()}, {product: case.book.tape}
        with StandInExchange(rate=None, markets=markets, trades=trades) as exchange:
            settings = _settings(exchange.url, f"{product}:{case.granularity}")
            collector, counts = Collector(asset_job(settings), self.instance, self.store), [0]
            for plan in (_planned, _healing(case) if heal else _planned):
                for outcome in collector.collect_all(plan(collector, settings, case)):
                    assert not outcome.failed, outcome
                counts.append(len(exchange.requests))
        return _found(collector, settings.series[0], case, counts)


Planning = Callable[[Collector, Settings, Case], Sequence[Plan]]


def _planned(collector: Collector, settings: Settings, case: Case) -> Sequence[Plan]:
    return [collector.plan(settings.series[0], case.book.keys)]


def _healing(case: Case) -> Planning:
    return _by_trades if case.kind == "every level" else _unexplained


def _unexplained(collector: Collector, settings: Settings, case: Case) -> Sequence[Plan]:
    first, last = _ends(case)
    return plan_healing(collector, settings.series, datetime.now(UTC).date(), first, last)


def _by_trades(collector: Collector, settings: Settings, case: Case) -> Sequence[Plan]:
    return plan_trades(collector, settings.series, *_ends(case))


def _ends(case: Case) -> tuple[date, date]:
    first, *_, last = map(date.fromisoformat, case.book.keys)
    return first, last


@contextmanager
def workplace() -> Iterator[Workplace]:
    """An Azurite and a Dagster instance that are gone afterwards; the environment names them."""
    with tempfile.TemporaryDirectory() as folder, azurite(Path(folder)) as account:
        environment = process_environment(
            quiet_instance(Path(folder, "dagster")),
            AZURE_STORAGE_CONNECTION_STRING=account,
            COINBASE_CONTAINER="truth",
            COINBASE_START="2018-01-01",
        )
        with (
            patch.dict(os.environ, environment),
            instance_at(environment["DAGSTER_HOME"]) as instance,
            blob_service(account) as service,
        ):
            container = environment["COINBASE_CONTAINER"]
            yield Workplace(instance, ParquetStore(AzureBlobs(service, container)))


def _settings(url: str, series: str) -> Settings:
    changes = {"api_url": url, "requests_per_second": 1000.0, "series": (Series.parse(series),)}
    return load_settings().model_copy(update=changes)


def _found(collector: Collector, series: Series, case: Case, counts: Sequence[int]) -> Found:
    with Lake() as lake:
        first, last = _ends(case)
        stored = lake.read_candles_arrow(series.product, case.granularity, first, last + _ONE_DAY)
        ledger = lake.dataset("candle_coverage").to_table(
            filter=pc.field("product") == series.product
        )
    columns = [stored[name].to_pylist() for name in ("low", "high", "open", "close", "volume")]
    times = [int(time.timestamp()) for time in stored["time"].to_pylist()]
    status = series_status(collector.store, series, datetime.now(UTC).date())
    return Found(
        dict(_states(ledger.to_pylist(), case.step)),
        dict(zip(times, zip(*columns, strict=True), strict=True)),
        status.disagreements.keys(),
        np.diff(counts).tolist(),
    )


def _states(ledger: Sequence[Mapping[str, Any]], step: int) -> Iterator[tuple[int, str]]:
    """Yield each bucket's start and state."""
    for row in ledger:
        first, end = (int(row[name].timestamp()) for name in ("start", "end"))
        yield from ((time, row["state"]) for time in range(first, end, step))
