"""Everything a user does, at the address of an account in Azure: the same candles as on Azurite.

HTTPS, signing in without a key or a SAS, and a hierarchical namespace cannot be had of Azurite.
"""

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow.parquet as pq
import pytest
from azure.storage.blob import (
    BlobServiceClient,
    ContainerSasPermissions,
    generate_container_sas,
)

from coinbase_assets import Lake
from coinbase_assets.cli.main import main
from coinbase_assets_tests.processes import (
    finish,
    process_environment,
    processes,
    quiet_instance,
)
from coinbase_assets_tests.stand_in.azurite import AZURITE_KEY
from coinbase_assets_tests.stand_in.exchange import StandInExchange
from coinbase_assets_tests.stand_in.forward_proxy import Proxy

ACCOUNT = "devstoreaccount1"
URL = f"http://{ACCOUNT}.blob.core.windows.net"
NOON = datetime(2024, 1, 5, 12, tzinfo=UTC)
DAY = "2024-01-02"
ONE_DAY = ("--series", "ETH-EUR:1h", "--from", DAY, "--to", DAY)
COLLECT = ("collect", *ONE_DAY)
SELECT = "SELECT product, granularity, month, * FROM candle_history ORDER BY time"

Settings = Mapping[str, str]


def sas_of(container: str) -> str:
    """Return a SAS that reads, writes and lists in one container, and cannot create one."""
    allowed = ContainerSasPermissions(read=True, write=True, list=True)
    expiry = datetime.now(UTC) + timedelta(hours=1)
    return generate_container_sas(
        ACCOUNT, container, AZURITE_KEY, permission=allowed, expiry=expiry
    )


def settings_of_lakes(azurite: str, proxy: Proxy) -> dict[str, Settings]:
    """Return the settings of a lake at the emulator's address, and of two at that of an account."""
    names = {name: f"test-{uuid.uuid4().hex}" for name in ("emulator", "key", "sas")}
    with BlobServiceClient.from_connection_string(azurite) as service:
        service.create_container(names["sas"])
    at_azure = {"AZURE_STORAGE_ACCOUNT_URL": URL, **proxy.environment}
    accounts = {
        "emulator": {"AZURE_STORAGE_CONNECTION_STRING": azurite},
        "key": {"AZURE_STORAGE_KEY": AZURITE_KEY, **at_azure},
        "sas": {"AZURE_STORAGE_SAS_TOKEN": sas_of(names["sas"]), **at_azure},
    }
    return {name: {"COINBASE_CONTAINER": names[name], **accounts[name]} for name in names}


def what_is_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Return what each way of reading gives, from the lake that the settings name."""
    file = folder / "candles.parquet"
    main(["export", *ONE_DAY, "--out", str(file)])
    capsys.readouterr()
    main(["query", SELECT, "--csv"])
    with Lake() as lake, duckdb.connect() as connection:
        history = lake.dataset()
        connection.register("candle_history", history)
        frame = pl.scan_pyarrow_dataset(history).filter(pl.col("month") == DAY[:7]).collect()
        return {
            "query": capsys.readouterr(),
            "export": pq.read_table(file),
            "series": lake.series(),
            "dataset": history.to_table(),
            "polars": frame.to_dicts(),
            "duckdb": connection.execute(SELECT).fetchall(),
        }


def picture(file: Path) -> bytes:
    main(["plot", *ONE_DAY, "--out", str(file)])
    return file.read_bytes()


@pytest.mark.soak
def test_collected_lake_reads_same_at_azure_address(
    azurite: str,
    azurite_proxy: Proxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Only one collects in a process of its own, and only two are drawn, to save time."""
    found: dict[str, dict[str, Any]] = {}
    pictures = []
    with StandInExchange(rate=None, clock=NOON.timestamp) as exchange, processes(tmp_path) as start:
        environments = {
            name: process_environment(
                quiet_instance(tmp_path / name), COINBASE_API_URL=exchange.url, **settings
            )
            for name, settings in settings_of_lakes(azurite, azurite_proxy).items()
        }
        process = start("coinbase-assets", *COLLECT, environment=environments["sas"])
        for name, environment in environments.items():
            with monkeypatch.context() as patch:
                for variable, value in environment.items():
                    patch.setenv(variable, value)
                if name == "sas":
                    done = finish(process)
                    assert (done.returncode, done.stderr) == (0, "")
                else:
                    main(COLLECT)
                found[name] = what_is_read(tmp_path, capsys)
                if name != "key":
                    pictures.append(picture(tmp_path / "candles.png"))
    exported = found["emulator"]["export"]
    assert exported.num_rows == 24
    assert found["emulator"]["dataset"].select(exported.column_names) == exported
    assert found["key"] == found["emulator"]
    assert found["sas"] == found["emulator"]
    assert pictures[0] == pictures[1]
    assert azurite_proxy.hosts == {URL.removeprefix("http://")}
