"""The container in Azure: conditions, listings, accounts, retries, and errors without secrets."""

import base64
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pytest
from azure.storage.blob import (
    AccountSasPermissions,
    BlobServiceClient,
    ContainerClient,
    ContainerSasPermissions,
    ResourceTypes,
    generate_account_sas,
    generate_container_sas,
)

from coinbase_assets.storage import blob_listing
from coinbase_assets.storage.azure_blobs import AzureBlobs
from coinbase_assets.storage.errors import StorageError
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets.storage.resource import AzureStorageResource
from coinbase_assets_tests.conftest import free_port
from coinbase_assets_tests.stand_in.azurite import AZURITE_KEY

pytestmark = pytest.mark.both_addresses

ACCOUNT = "devstoreaccount1"
PATH = "prices/date=2024-01-01/prices.parquet"
TABLE, OTHER = pa.table({"price": [0.5, 2.5]}), pa.table({"price": [1.5]})
WRONG_KEY = base64.b64encode(b"not the key of this account").decode()

Use = Callable[[ParquetStore], object]
USES: dict[str, Use] = {
    "list": lambda store: store.list("prices/"),
    "get": lambda store: store.get(PATH),
    "put": lambda store: store.put(PATH, TABLE, None),
    "put bytes": lambda store: store.put_bytes(PATH, b"bytes", "image/png"),
}
each_use = pytest.mark.parametrize("use", USES.values(), ids=USES)


@pytest.fixture
def account_url(lake: ParquetStore) -> str:
    return lake.container_uri.rpartition("/")[0]


def account_sas(valid: timedelta) -> str:
    return generate_account_sas(
        ACCOUNT,
        AZURITE_KEY,
        ResourceTypes(container=True, object=True),
        AccountSasPermissions(read=True, write=True, list=True, create=True),
        expiry=datetime.now(UTC) + valid,
    )


def error_of(use: Use, account_url: str, credential: Any) -> str:
    """Return the message of the error raised by this use of the store, without retries."""
    service = BlobServiceClient(account_url, credential, retry_total=0)
    with service, pytest.raises(StorageError) as raised:
        use(ParquetStore(AzureBlobs(service, "lake")))
    assert type(raised.value) is StorageError
    return str(raised.value)


# Conditions and listings


def test_get_archived_blob_is_not_blob_changed(
    lake: ParquetStore, container: ContainerClient
) -> None:
    stored = lake.put(PATH, TABLE, None)
    container.get_blob_client(PATH).set_standard_blob_tier("Archive")
    with pytest.raises(StorageError, match="answered 409") as raised:
        lake.get(PATH, etag=stored.etag)
    assert type(raised.value) is StorageError


def test_list_skips_folders(lake: ParquetStore, container: ContainerClient) -> None:
    stored = lake.put(PATH, TABLE, None)
    folder = PATH.rpartition("/")[0]
    container.upload_blob(folder, b"", metadata={"hdi_isfolder": "true"})
    assert lake.list("") == {PATH: stored}


def test_list_follows_pages(lake: ParquetStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blob_listing, "_BLOBS_PER_PAGE", 2)
    paths = [f"pages/{number}.parquet" for number in range(5)]
    for path in paths:
        lake.put(path, TABLE, None)
    assert list(lake.list("pages/")) == paths
    assert list(lake.find(paths[1:4])) == paths[1:4]


# Accounts


@pytest.mark.parametrize("credential", ["connection string", "key", "sas"])
def test_account_opens_by_credential(
    credential: str,
    lake: ParquetStore,
    container: ContainerClient,
    account_url: str,
    connection_string: str,
) -> None:
    sas = account_sas(timedelta(hours=1))
    storage = {
        "connection string": AzureStorageResource(connection_string=connection_string),
        "key": AzureStorageResource(account_url=account_url, account_key=AZURITE_KEY),
        "sas": AzureStorageResource(account_url=account_url, sas_token=sas),
    }[credential]
    with storage.get_client() as service:
        ParquetStore(AzureBlobs(service, container.container_name)).put(PATH, TABLE, None)
    assert lake.get(PATH) == TABLE


def test_put_with_sas_of_one_container(
    lake: ParquetStore, container: ContainerClient, account_url: str
) -> None:
    lake.put("made", OTHER, None)
    expiry = datetime.now(UTC) + timedelta(hours=1)
    permission = ContainerSasPermissions(read=True, write=True, list=True, create=True)
    sas = generate_container_sas(
        ACCOUNT, container.container_name, AZURITE_KEY, permission=permission, expiry=expiry
    )
    with BlobServiceClient(account_url, sas) as service:
        store = ParquetStore(AzureBlobs(service, container.container_name))
        store.put(PATH, TABLE, None)
        assert store.get(PATH) == TABLE
        assert store.uri(PATH) == lake.uri(PATH)


@each_use
@pytest.mark.parametrize("key", [WRONG_KEY, "not base64"], ids=["wrong", "malformed"])
def test_error_refused_key_is_one_line(key: str, use: Use, account_url: str) -> None:
    message = error_of(use, account_url, {"account_name": ACCOUNT, "account_key": key})
    assert message.startswith(account_url)
    assert "refused the credential" in message
    assert key not in message
    assert "\n" not in message


@each_use
def test_error_refused_sas_hides_signature(use: Use, account_url: str) -> None:
    sas = account_sas(-timedelta(hours=1))
    assert_hidden(sas, error_of(use, account_url, sas))


@each_use
@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "127.0.0.1:99999", "nowhere.invalid"])
def test_error_unreachable_account_hides_signature(host: str, use: Use) -> None:
    url, sas = f"http://{host.format(port=free_port())}/{ACCOUNT}", account_sas(timedelta(hours=1))
    for account_url, credential in ((url, sas), (f"{url}?{sas}", None)):
        message = error_of(use, account_url, credential)
        assert_hidden(sas, message)
        assert message.startswith(url)
        assert "cannot be reached" in message


@each_use
def test_error_echoed_url_hides_signature(use: Use) -> None:
    sas = account_sas(timedelta(hours=1))
    with echoing_server() as url:
        message = error_of(use, url, sas)
    assert_hidden(sas, message)
    assert "answered 400" in message
    assert "sp=rwlc" in message


def assert_hidden(sas: str, message: str) -> None:
    signature = sas.partition("sig=")[2]
    assert len(signature) > 40
    assert signature not in message
    assert unquote(signature) not in message
    assert "\n" not in message


@contextmanager
def echoing_server() -> Iterator[str]:
    """Run a server that answers each request with 400 and the request's URL."""

    class Echo(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_error(400, explain=self.path)

        do_GET = do_PUT = answer  # noqa: N815
        error_message_format = "cannot forward %(explain)s\nnow"
        error_content_type = "text/plain"

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield f"http://127.0.0.1:{server.server_port}/{ACCOUNT}"
        server.shutdown()


@each_use
def test_retry_pauses_stay_under_forty_seconds(use: Use, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    url = f"http://127.0.0.1:1/{ACCOUNT}"
    storage = AzureStorageResource(account_url=url, account_key=AZURITE_KEY)
    with storage.get_client() as service, pytest.raises(StorageError, match="be reached") as raised:
        use(ParquetStore(AzureBlobs(service, "lake")))
    assert "\n" not in str(raised.value)
    assert len(pauses) >= 3
    assert 5 < sum(pauses) < 40
