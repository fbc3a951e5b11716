"""Reading two columns of a year of 1m candles as pandas, next to who else can, on the same blobs.

Every contender's process has its libraries loaded and opens the storage anew for each read, so that
none answers from what it kept; only adlfs keeps its listing of the folder, as it is built to.
"""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import urllib3
from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas

from benchmarks.contenders import OURS, Contender, take_turns
from benchmarks.latency import delaying
from benchmarks.synthetic import ACCOUNT, Account, months, store_history, temporary_account
from benchmarks.tables import Measured, print_table
from coinbase_assets.candles.datasets import CANDLE_HISTORY
from coinbase_assets.candles.series import Series

SERIES = Series.parse("ETH-EUR:1m")
YEAR = 2024
CONTAINER = "lake"
# Seconds that a request takes longer: in the storage's region, and far from it.
NEAR, FAR = 0.002, 0.030
OF_THE_FLOOR = 1.5
WORK = "Read 1 year of 1m, time and close, as pandas"


def main(runs: int) -> None:
    with temporary_account() as account:
        with account.store(CONTAINER) as store:
            store_history(store, SERIES, months(f"{YEAR - 1}-01", 24))
        for latency, of_adlfs in ((NEAR, 0.5), (FAR, 0.25)):
            with delaying(account.port, latency) as port:
                compare(f"{WORK}, {1000 * latency:.0f} ms more a request", port, runs, of_adlfs)


def compare(work: str, port: int, runs: int, of_adlfs: float) -> None:
    """Print what a process's first read takes, and the ones after it."""
    account = Account(port)
    targets = [OF_THE_FLOOR, of_adlfs, 1.0, 1.0, 1.0, None]
    contenders = [
        Contender("coinbase_assets", "read_ours", OURS),
        Contender("pandas over adlfs", "read_adlfs", "adlfs"),
        Contender("Polars scan", "read_polars", "polars"),
        Contender("DuckDB", "read_duckdb", "duckdb"),
        Contender("pyarrow AzureFileSystem", "read_pyarrow", "pyarrow"),
        Contender("DuckDB, from its cache", "read_duckdb", "duckdb", {"again": True}),
    ]
    take_turns(contenders, runs, arguments(account))
    bare = Measured("the bare downloads", [1000 * one for one in floors(account, runs)])
    floor = bare.median
    rows = [
        Measured(one.name, [1000 * seconds for seconds in one.seconds], target)
        for one, target in zip(contenders, targets, strict=True)
    ]
    print_table(work, *rows, bare, floor=floor, unit="ms")
    rows = [Measured(one.name, [1000 * one.first]) for one in contenders]
    print_table(f"{work}, a process's first", *rows, floor=floor, unit="ms")


def arguments(account: Account) -> dict[str, object]:
    return {
        "connection_string": account.connection_string,
        "account": ACCOUNT,
        "url": account.url,
        "key": account.key,
        "container": CONTAINER,
        "folder": CANDLE_HISTORY.folder(SERIES).rstrip("/"),
        "product": SERIES.product,
        "year": YEAR,
        "first": f"{YEAR}-01",
        "last": f"{YEAR}-12",
    }


def floors(account: Account, runs: int) -> Sequence[float]:
    """Seconds in which the year's blobs come at once, by urllib3, and nothing is done with them."""
    sas = generate_account_sas(
        ACCOUNT,
        account.key,
        ResourceTypes(object=True),
        AccountSasPermissions(read=True),
        datetime.now(UTC) + timedelta(hours=1),
    )
    template = CANDLE_HISTORY.path(SERIES)
    paths = [template.format(partition=month) for month in months(f"{YEAR}-01", 12)]
    urls = [f"{account.url}/{CONTAINER}/{path}?{sas}" for path in paths]
    return [_seconds_for(urls) for _ in range(runs)]


def _seconds_for(urls: Sequence[str]) -> float:
    begin = time.perf_counter()
    with (
        urllib3.PoolManager(maxsize=len(urls)) as pool,
        ThreadPoolExecutor(len(urls)) as threads,
    ):
        statuses = [answer.status for answer in threads.map(lambda u: pool.request("GET", u), urls)]
    assert statuses == [200] * len(urls), statuses
    return time.perf_counter() - begin
