"""The benchmarks of reading and of adding a day: this project's side works, on a small lake."""

import re
from pathlib import Path

import pytest

from benchmarks import append, read
from benchmarks.contenders import OURS, Contender, take_turns
from benchmarks.latency import delaying
from benchmarks.synthetic import Account, store_history
from coinbase_assets.storage.parquet_store import ParquetStore

CANDLES = 31 * 24 * 60


@pytest.fixture
def account(azurite: str) -> Account:
    port = re.search(r":(\d+)/", azurite)
    assert port
    return Account(int(port[1]))


@pytest.fixture
def container(lake: ParquetStore) -> str:
    return lake.container_uri.rpartition("/")[2]


@pytest.mark.soak
def test_a_year_is_read_through_the_delaying_proxy(
    account: Account, lake: ParquetStore, container: str
) -> None:
    store_history(lake, read.SERIES, ["2024-01", "2025-01"])
    ours = Contender("ours", "read_ours", OURS)
    with delaying(account.port, 0.1) as port:
        arguments = {**read.arguments(Account(port)), "container": container}
        rows, first, last, _ = take_turns([ours], 1, arguments)
    assert rows == CANDLES
    assert (first, last) == ("2024-01-01 00:00:00+00:00", "2024-01-31 23:59:00+00:00")
    assert min(ours.first, *ours.seconds) > 0.1


@pytest.mark.soak
def test_a_day_is_added_to_its_month(
    account: Account, lake: ParquetStore, container: str, tmp_path: Path
) -> None:
    ours = Contender("ours", "append_ours", OURS)
    project = append.Lake(account, container, [append.MONTH])
    project.fill()
    append.write_day(tmp_path)
    arguments = {**append.arguments(account, tmp_path), "container": container}
    take_turns([ours], 1, arguments, project.restore)
    path = append.HISTORY.format(partition=append.MONTH)
    assert lake.get(path).num_rows == CANDLES
    project.restore()
    assert lake.get(path).num_rows == CANDLES - 24 * 60
