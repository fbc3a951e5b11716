"""Adding a day of 1m candles to the history, next to who rewrites and who merges.

It is the 31st, the dearest for this project, which stores the whole month again. Each run begins
with the history up to the 30th, but the one big Parquet file keeps the day: it drops the older rows
as it adds it again.
"""

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobServiceClient

from benchmarks.contenders import OURS, Contender, take_turns
from benchmarks.peers import peer_python, script
from benchmarks.synthetic import (
    ACCOUNT,
    Account,
    history_of,
    months,
    random_candles,
    raw_days,
    store_history,
    temporary_account,
)
from benchmarks.tables import Measured, print_table
from coinbase_assets.candles.calendar import month_of, month_range
from coinbase_assets.candles.datasets import CANDLE_HISTORY, RAW_CANDLES
from coinbase_assets.candles.series import Series
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.conftest import new_instance_at
from coinbase_assets_tests.running import build_history, collect_raw, settings_for
from coinbase_assets_tests.stand_in.exchange import StandInExchange

SERIES = Series.parse("ETH-EUR:1m")
DAY = "2024-12-31"
MONTH = month_of(DAY)
LAKES = {"lake-of-10-years": months("2015-01", 120), "lake-of-1-year": months("2024-01", 12)}
TEN, ONE = LAKES
PEERS = "peers"
BIG = "big/candles.parquet"
DELTA = "delta"
DAY_FILE = "day.parquet"
BY_DAY = f"t.month = '{MONTH}' AND t.time >= '{DAY}T00:00:00Z' AND t.time = s.time"
MERGES = {
    "by time": {"by": "t.time = s.time"},
    "by month and time": {"by": "t.month = s.month AND t.time = s.time"},
    "by time within the day's partition": {"by": BY_DAY},
}
RAW, HISTORY = RAW_CANDLES.path(SERIES), CANDLE_HISTORY.path(SERIES)


def main(runs: int) -> None:
    with temporary_account() as account, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lakes = [Lake(account, container, keys) for container, keys in LAKES.items()]
        for lake in lakes:
            lake.fill()
        fill_peers(account, folder)
        contenders = [
            Contender("coinbase_assets, 10 years", "append_ours", OURS, {"container": TEN}),
            Contender("one big Parquet blob, by pandas over adlfs", "append_adlfs", "adlfs"),
            *(
                Contender(f"Delta Lake MERGE {name}", "append_delta", "delta", how)
                for name, how in MERGES.items()
            ),
            Contender("coinbase_assets, 1 year", "append_ours", OURS, {"container": ONE}),
        ]

        def restore() -> None:
            for lake in lakes:
                lake.restore()
            restore_delta(account)

        take_turns(contenders, runs, arguments(account, folder), restore)
        targets = [None, 1 / 40, *[1 / 5] * len(MERGES), 1.2]
        rows = [
            Measured(one.name, one.seconds, target)
            for one, target in zip(contenders, targets, strict=True)
        ]
        whole = Measured(
            "coinbase_assets, 10 years, as 2 Dagster runs", [*dagster_runs(lakes[0], folder, runs)]
        )
        print_table("Add one day to 10 years of 1m", *rows, whole)


class Lake:
    """This project's, which can be put back to where the day is not there yet."""

    def __init__(self, account: Account, container: str, keys: Sequence[str]) -> None:
        self.account = account
        self.container = container
        self._keys = keys
        self._days = {key: day for key, day in raw_days(SERIES, MONTH).items() if key != DAY}
        self._without = history_of(SERIES, MONTH, self._days)

    def fill(self) -> None:
        with self.account.store(self.container) as store:
            store_history(store, SERIES, self._keys)
            for key, table in self._days.items():
                store.put(RAW.format(partition=key), table, None)

    def restore(self) -> None:
        with self.account.store(self.container) as store:
            self._restore_month(store)
        delete(self.account, self.container, RAW.format(partition=DAY))

    def _restore_month(self, store: ParquetStore) -> None:
        path = HISTORY.format(partition=MONTH)
        store.put(path, self._without, store.find([path]).get(path))


def delete(account: Account, container: str, path: str) -> None:
    with (
        BlobServiceClient.from_connection_string(account.connection_string) as service,
        suppress(ResourceNotFoundError),
    ):
        service.get_blob_client(container, path).delete_blob()


def write_day(folder: Path) -> int:
    """Write the day to add as a file; the number of its candles."""
    day = raw_days(SERIES, MONTH)[DAY]
    pq.write_table(day, folder / DAY_FILE)
    return day.num_rows


def fill_peers(account: Account, folder: Path) -> None:
    """The 10 years up to the day, as one Parquet blob and as a Delta table."""
    tables = []
    for key in LAKES[TEN]:
        table = random_candles(SERIES, *month_range(key))
        tables.append(table.append_column("month", pa.array([key] * table.num_rows)))
    stored = pa.concat_tables(tables)
    stored = stored.slice(0, stored.num_rows - write_day(folder))
    file = folder / "10-years.parquet"
    pq.write_table(stored.drop_columns("month"), file, compression="zstd")
    with account.store(PEERS) as store:
        store.put_bytes(BIG, file.read_bytes(), "application/octet-stream")
    pq.write_table(stored, file, compression="zstd")
    make_delta: list[str | Path] = [peer_python("delta"), script("delta_table")]
    options = json.dumps(delta_options(account))
    subprocess.run([*make_delta, f"az://{PEERS}/{DELTA}", file, options], check=True)


def restore_delta(account: Account) -> None:
    """The table's first version; delta-rs cannot go on from its second one on Azurite."""
    delete(account, PEERS, f"{DELTA}/_delta_log/{1:020}.json")


def delta_options(account: Account) -> dict[str, str]:
    return {
        "account_name": ACCOUNT,
        "account_key": account.key,
        "endpoint": account.url,
        "allow_http": "true",
    }


def arguments(account: Account, folder: Path) -> dict[str, object]:
    return {
        "connection_string": account.connection_string,
        "container": PEERS,
        "big": BIG,
        "delta": f"az://{PEERS}/{DELTA}",
        "delta_options": delta_options(account),
        "day": DAY,
        "file": str(folder / DAY_FILE),
    }


def dagster_runs(lake: Lake, folder: Path, runs: int) -> Iterator[float]:
    """Seconds of collecting the day and joining its month as Dagster runs, in this process."""
    home = folder / "dagster"
    home.mkdir()
    variables = {
        "AZURE_STORAGE_CONNECTION_STRING": lake.account.connection_string,
        "COINBASE_CONTAINER": lake.container,
    }
    with (
        environment(variables),
        StandInExchange(rate=None) as exchange,
        new_instance_at(home) as instance,
    ):
        settings = settings_for(exchange.url, str(SERIES))
        for run in range(runs + 1):
            lake.restore()
            begin = time.perf_counter()
            collect_raw(settings, instance, DAY)
            build_history(settings, instance, MONTH)
            if run:
                yield time.perf_counter() - begin


@contextmanager
def environment(variables: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
