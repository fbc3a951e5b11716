"""The lake at every address that an account can have, and with every credential tried here.

HTTPS, DefaultAzureCredential and a hierarchical namespace cannot be had of Azurite.
"""

import base64
import traceback
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
import httpx
import pytest
from azure.identity import DefaultAzureCredential
from azure.storage.blob import (
    AccountSasPermissions,
    ResourceTypes,
    generate_account_sas,
)

from coinbase_assets import Lake
from coinbase_assets.candles.datasets import CANDLE_HISTORY
from coinbase_assets.candles.series import Series
from coinbase_assets.cli.main import main
from coinbase_assets.environment.network import httpx_options
from coinbase_assets.lake.export import write_file
from coinbase_assets.lake.sql import query
from coinbase_assets.storage.azure_blobs import AzureBlobs
from coinbase_assets.storage.client import blob_service
from coinbase_assets.storage.errors import StorageError
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.conftest import free_port
from coinbase_assets_tests.stand_in.azurite import azurite_by_hand
from coinbase_assets_tests.stand_in.forward_proxy import forward_proxy
from coinbase_assets_tests.stand_in.socks_proxy import socks_proxy
from coinbase_assets_tests.stand_in.tables import candle_table

ACCOUNT, CONTAINER = "mylake", "candles"
KEY = base64.b64encode(b"a key that no other emulator has").decode()
SUFFIXES = ("core.windows.net", "core.usgovcloudapi.net", "core.chinacloudapi.cn")
DOMAIN = "candles.example.com"
HOURS = Series.parse("ETH-EUR:1h")
START = datetime(2024, 1, 31, 22, tzinfo=UTC)
CANDLES = candle_table([START + timedelta(hours=n) for n in range(5)], volume=2.0)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """An Azurite that serves the account at the address of the emulator and at its own name."""
    port = free_port()
    accounts = f"{ACCOUNT}:{KEY}"
    with azurite_by_hand(tmp_path_factory.mktemp("account"), port, AZURITE_ACCOUNTS=accounts):
        yield port


@pytest.fixture(scope="module")
def stored(port: int) -> None:
    """Two hours of January and three of February, in the account."""
    template = CANDLE_HISTORY.path(HOURS)
    with blob_service(account_url=f"http://127.0.0.1:{port}/{ACCOUNT}", account_key=KEY) as service:
        store = ParquetStore(AzureBlobs(service, CONTAINER))
        for month, table in (("2024-01", CANDLES[:2]), ("2024-02", CANDLES[2:])):
            store.put(template.format(partition=month), table, None)


@pytest.fixture
def proxy(port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """Names lead to Azurite, this machine's numbers to themselves."""
    with forward_proxy(port, {DOMAIN: f"{ACCOUNT}.blob.core.windows.net"}) as proxy:
        for name, value in proxy.environment.items():
            monkeypatch.setenv(name, value)
        yield proxy.hosts


def sas() -> str:
    return generate_account_sas(
        ACCOUNT,
        KEY,
        ResourceTypes(container=True, object=True),
        AccountSasPermissions(read=True, list=True),
        datetime.now(UTC) + timedelta(hours=1),
    )


def addresses(port: int) -> dict[str, str]:
    real = {suffix: f"http://{ACCOUNT}.blob.{suffix}" for suffix in SUFFIXES}
    return {
        "emulator": f"http://127.0.0.1:{port}/{ACCOUNT}",
        "emulator in a container": f"http://azurite:10000/{ACCOUNT}",
        "port": f"http://{ACCOUNT}.blob.core.windows.net:80",
        "capitals": f"http://{ACCOUNT.capitalize()}.Blob.core.windows.net",
        "zone": f"http://{ACCOUNT}.z12.blob.storage.azure.net",
        "domain": f"http://{DOMAIN}",
        **real,
    }


def credentials(url: str) -> dict[str, Mapping[str, str]]:
    named = f"AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={url};"
    return {
        "key": {"account_url": url, "account_key": KEY},
        "sas": {"account_url": url, "sas_token": sas()},
        "connection string": {"connection_string": named},
        "sas in a connection string": {
            "connection_string": f"BlobEndpoint={url};SharedAccessSignature={sas()};"
        },
    }


def select(what: str, lake: Lake, limit: int = 9) -> list[tuple[object, ...]]:
    """Ask DuckDB, as a notebook does."""
    with duckdb.connect() as connection:
        connection.register("candles", lake.dataset())
        return connection.execute(f"SELECT {what} FROM candles LIMIT {limit}").fetchall()


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    ("address", "credential"),
    [
        *((address, "key") for address in addresses(0) if address != "domain"),
        *(("domain", name) for name in credentials("") if name != "key"),
        *(("core.windows.net", name) for name in credentials("") if name != "key"),
        ("emulator", "sas"),
    ],
)
def test_lake_reads_every_address_with_every_credential(
    port: int, proxy: set[str], tmp_path: Path, address: str, credential: str
) -> None:
    url = addresses(port)[address]
    with Lake(CONTAINER, **credentials(url)[credential]) as lake:
        assert (
            lake.read_candles_arrow("ETH-EUR", "1h", START, "2024-03-01", allow_gaps=True)
            == CANDLES
        )
        assert lake.dataset().to_table(columns=CANDLES.column_names) == CANDLES
        assert select("sum(volume)", lake) == [(10.0,)]
        sql = "SELECT month, count(*) AS n FROM candle_history GROUP BY month ORDER BY month"
        assert query(lake, sql, "csv") == '"month","n"\n"2024-01",2\n"2024-02",3\n'
        tables = lake.stream_candles("ETH-EUR", "1h", START, "2024-03-01", allow_gaps=True)
        assert write_file(tmp_path / "candles.csv", tables) == 5
    asked = set() if address == "emulator" else {urlsplit(url).netloc.lower()}
    assert proxy == asked


@pytest.mark.usefixtures("stored", "proxy")
@pytest.mark.parametrize("limit", [1, 3])
def test_dataset_can_be_left_half_read(port: int, limit: int) -> None:
    url = addresses(port)["core.windows.net"]
    with Lake(CONTAINER, account_url=url, account_key=KEY) as lake:
        assert len(select("*", lake, limit)) == limit


@pytest.mark.parametrize(
    ("account", "remedy"),
    [
        (
            {"account_url": f"https://{DOMAIN}", "account_key": KEY},
            f"BlobEndpoint=https://{DOMAIN}",
        ),
        ({"account_url": "https://mylake.dfs.core.windows.net", "account_key": KEY}, ".blob.core"),
        ({"account_url": f"https://{DOMAIN}?sig={KEY}"}, "has a user, a password, a query"),
        ({"account_url": f"http://{DOMAIN}"}, "http:// needs a key or a SAS"),
        ({"account_url": f"https://{DOMAIN}", "sas_token": KEY}, "not a SAS token"),
        (
            {"account_url": "https://mylake.blob.core.windows.net", "account_key": f"{KEY}!"},
            "base64",
        ),
        ({"connection_string": f"AccountName=mylake;AccountKey={KEY}!"}, "base64"),
    ],
)
def test_lake_refuses_account(account: Mapping[str, str], remedy: str) -> None:
    with pytest.raises(StorageError, match=r"^the storage account cannot be used: ") as raised:
        Lake(CONTAINER, **account)
    assert remedy in str(raised.value)
    assert KEY not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize("command", ["status", "export", "query", "plot", "collect"])
def test_command_refuses_key_of_custom_domain(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_URL", f"https://{DOMAIN}")
    monkeypatch.setenv("AZURE_STORAGE_KEY", KEY)
    days = ["--from", "2024-01-31", "--to", "2024-01-31"]
    arguments = {
        "query": ["SELECT 1"],
        "plot": ["--series", str(HOURS)],
        "export": ["--series", str(HOURS), *days, "--out", "candles.csv"],
    }
    with pytest.raises(SystemExit) as end:
        main([command, *arguments.get(command, [])])
    (line,) = capsys.readouterr().err.splitlines()
    assert end.value.code == 2
    assert line.startswith(f"Error: AZURE_STORAGE_ACCOUNT_URL=https://{DOMAIN}: a key needs a URL")
    assert KEY not in line


def test_sign_in_at_custom_domain() -> None:
    with blob_service(account_url=f"https://{DOMAIN}") as service:
        assert service.primary_endpoint == f"https://{DOMAIN}/"
        assert isinstance(service.credential, DefaultAzureCredential)


def test_lake_is_read_through_socks_proxy(
    port: int, stored: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socks_proxy(port) as proxy:
        for name in ("all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        url = f"http://{ACCOUNT}.blob.core.windows.net"
        with Lake(CONTAINER, account_url=url, account_key=KEY) as lake:
            read = lake.read_candles_arrow(
                "ETH-EUR", "1h", "2024-01-01", "2024-03-01", allow_gaps=True
            )
        assert read.equals(CANDLES)
        asked = "http://exchange.invalid/"
        answer = httpx.get(asked, **httpx_options(asked))
        assert answer.headers["Server"].startswith("Azurite-Blob")
    assert proxy.hosts == {f"{ACCOUNT}.blob.core.windows.net", "exchange.invalid"}
