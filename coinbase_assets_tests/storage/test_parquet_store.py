"""Tables in Azure: put whole, found by path, replaced only if unchanged; what errors tell."""

import base64
import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import BytesIO
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from azure.storage.blob import (
    AccountSasPermissions,
    BlobServiceClient,
    ContainerClient,
    ContainerSasPermissions,
    ContentSettings,
    ResourceTypes,
    generate_account_sas,
    generate_container_sas,
)

from coinbase_assets.storage import parquet_store
from coinbase_assets.storage.errors import BlobChanged, BlobDamaged, PartitionMissing, StorageError
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets.storage.resource import AzureStorageResource
from coinbase_assets.table_metadata import with_fields
from coinbase_assets_tests.conftest import AZURITE_KEY, free_port

ACCOUNT = "devstoreaccount1"
PATH = "prices/date=2024-01-01/prices.parquet"
FIELDS = {"version": "3", "series": "ETH-EUR:15m"}
SCHEMA = pa.schema(
    {"time": pa.timestamp("us", "UTC"), "price": pa.float64(), "note": pa.string()},
    metadata={"theirs": "kept"},
)
ROWS = [{"time": n, "price": n / 8, "note": str(n)} for n in range(1000)]
TABLE = with_fields(pa.Table.from_pylist(ROWS, SCHEMA), FIELDS)
OTHER = pa.table({"price": [1.5]})
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
def container(lake: ParquetStore, azurite: str) -> Iterator[ContainerClient]:
    """The lake's container, to look at and damage its blobs."""
    with BlobServiceClient.from_connection_string(azurite) as service:
        yield service.get_container_client(name_of(lake))


@pytest.fixture
def account_url(lake: ParquetStore) -> str:
    return lake.container_uri.removesuffix(f"/{name_of(lake)}")


def name_of(lake: ParquetStore) -> str:
    return lake.container_uri.split("/")[-1]


def account_sas(valid: timedelta) -> str:
    return generate_account_sas(
        ACCOUNT,
        AZURITE_KEY,
        ResourceTypes(container=True, object=True),
        AccountSasPermissions(read=True, write=True, list=True, create=True),
        expiry=datetime.now(UTC) + valid,
    )


def error_of(use: Use, account_url: str, credential: Any) -> str:
    """What is said when the store is used; without retries, which take their time."""
    service = BlobServiceClient(account_url, credential, retry_total=0)
    with service, pytest.raises(StorageError) as raised:
        use(ParquetStore(service, "lake"))
    assert type(raised.value) is StorageError
    return str(raised.value)


# Put and get


def test_a_table_comes_back_as_it_was_put(lake: ParquetStore) -> None:
    lake.put(PATH, TABLE, None)
    assert lake.get(PATH).equals(TABLE, check_metadata=True)


def test_bytes_are_stored_as_they_are_and_the_last_ones_stay(
    lake: ParquetStore, container: ContainerClient
) -> None:
    """In a container that is not there yet."""
    for content in (b"a picture", b"another"):
        stored = lake.put_bytes("charts/chart.png", content, "image/png")
        download = container.download_blob("charts/chart.png")
        assert download.readall() == content
        settings = download.properties.content_settings
        assert settings.content_type == "image/png"
        assert settings.content_md5 == bytearray(hashlib.md5(content).digest())
        assert lake.list("") == {"charts/chart.png": stored}


def test_fields_stand_in_the_file_and_on_the_blob(
    lake: ParquetStore, container: ContainerClient
) -> None:
    stored = lake.put(PATH, TABLE, None)
    content = container.download_blob(PATH).readall()
    in_the_file = pq.read_metadata(pa.BufferReader(content)).metadata
    assert in_the_file[b"coinbase_assets.version"] == b"3"
    assert in_the_file[b"coinbase_assets.series"] == b"ETH-EUR:15m"
    assert stored.fields == {**FIELDS, "rows": "1000"}
    assert stored.version == 3
    assert stored.size == len(content)
    assert lake.list("") == {PATH: stored}


def test_an_empty_field_is_found_as_it_was_put(lake: ParquetStore) -> None:
    stored = lake.put(PATH, with_fields(TABLE, {"note": ""}), None)
    assert lake.find([PATH])[PATH].fields == stored.fields


@pytest.mark.parametrize("single_put", [2**20, 2**10], ids=["at once", "in blocks"])
def test_the_blob_is_zstd_with_its_md5(
    single_put: int, lake: ParquetStore, container: ContainerClient, azurite: str
) -> None:
    sizes: dict[str, Any] = {"max_single_put_size": single_put, "max_block_size": single_put}
    with BlobServiceClient.from_connection_string(azurite, **sizes) as service:
        ParquetStore(service, name_of(lake)).put(PATH, TABLE, None)
    download = container.download_blob(PATH)
    content, settings = download.readall(), download.properties.content_settings
    assert len(content) > 2**10
    assert bytes(settings.content_md5 or b"") == hashlib.md5(content).digest()
    assert settings.content_type == "application/vnd.apache.parquet"
    row_group = pq.read_metadata(pa.BufferReader(content)).row_group(0)
    assert {row_group.column(n).compression for n in range(3)} == {"ZSTD"}


def test_only_the_columns_asked_for_are_read(lake: ParquetStore) -> None:
    lake.put(PATH, TABLE, None)
    assert lake.get(PATH, ["note", "price"]).column_names == ["note", "price"]


def test_a_column_that_is_not_there_is_no_reason_to_delete_the_blob(lake: ParquetStore) -> None:
    lake.put(PATH, TABLE, None)
    with pytest.raises(StorageError, match="prcie") as raised:
        lake.get(PATH, ["prcie"])
    assert "delete" not in str(raised.value)


def test_the_first_put_makes_the_container(lake: ParquetStore) -> None:
    assert lake.list("") == {}
    assert lake.find([PATH]) == {}
    with pytest.raises(PartitionMissing):
        lake.get(PATH)
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda n: lake.put(f"prices/{n}", TABLE, None), range(4)))
    assert len(lake.list("")) == 4


def test_a_missing_blob_is_named(lake: ParquetStore) -> None:
    lake.put("another", TABLE, None)
    with pytest.raises(PartitionMissing, match=f"{lake.container_uri}/{PATH}"):
        lake.get(PATH)


def test_names_may_hold_any_character(lake: ParquetStore) -> None:
    path = "prices/place=Köln & Bonn/share=50% #1?.parquet"
    lake.put(path, TABLE, None)
    assert list(lake.list("prices/place=Köln &")) == [path]
    assert lake.get(path) == TABLE


# Find


def test_only_the_blobs_asked_for_are_found(lake: ParquetStore) -> None:
    paths = ["a", "b/x", "b/x.parquet", "b/x/y", "b/xy", "c"]
    for path in paths:
        lake.put(path, OTHER, None)
    assert list(lake.find(["b/x"])) == ["b/x"]
    assert list(lake.find(["b/xy", "b/x", "b/missing"])) == ["b/x", "b/xy"]
    assert list(lake.find(["c", "a"])) == ["a", "c"]
    assert list(lake.list("b/x")) == ["b/x", "b/x.parquet", "b/x/y", "b/xy"]
    assert list(lake.list("")) == paths


def test_to_find_nothing_asks_nobody() -> None:
    with BlobServiceClient(f"http://127.0.0.1:{free_port()}", retry_total=0) as service:
        assert ParquetStore(service, "lake").find([]) == {}


# Only if unchanged


def test_a_put_that_is_to_make_a_blob_replaces_none(lake: ParquetStore) -> None:
    stored = lake.put(PATH, TABLE, None)
    with pytest.raises(BlobChanged, match=PATH):
        lake.put(PATH, OTHER, None)
    assert lake.list("") == {PATH: stored}


def test_a_put_replaces_only_the_blob_it_names(lake: ParquetStore) -> None:
    first = lake.put(PATH, TABLE, None)
    second = lake.put(PATH, OTHER, first)
    with pytest.raises(BlobChanged, match=PATH):
        lake.put(PATH, TABLE, first)
    assert lake.list("") == {PATH: second}
    assert lake.get(PATH) == OTHER


def test_a_put_does_not_bring_back_a_deleted_blob(
    lake: ParquetStore, container: ContainerClient
) -> None:
    stored = lake.put(PATH, TABLE, None)
    container.delete_blob(PATH)
    with pytest.raises(BlobChanged):
        lake.put(PATH, TABLE, stored)


def test_a_get_may_insist_on_the_blob_it_knows(lake: ParquetStore) -> None:
    first = lake.put(PATH, TABLE, None)
    assert lake.get(PATH, etag=first.etag) == TABLE
    lake.put(PATH, OTHER, first)
    with pytest.raises(BlobChanged, match=PATH):
        lake.get(PATH, etag=first.etag)


def test_an_archived_blob_is_not_taken_for_one_that_changed(
    lake: ParquetStore, container: ContainerClient
) -> None:
    stored = lake.put(PATH, TABLE, None)
    container.get_blob_client(PATH).set_standard_blob_tier("Archive")
    with pytest.raises(StorageError, match="answered 409") as raised:
        lake.get(PATH, etag=stored.etag)
    assert type(raised.value) is StorageError


def test_folders_that_an_account_lists_are_no_blobs(
    lake: ParquetStore, container: ContainerClient
) -> None:
    stored = lake.put(PATH, TABLE, None)
    folder = PATH.rpartition("/")[0]
    container.upload_blob(folder, b"", metadata={"hdi_isfolder": "true"})
    assert lake.list("") == {PATH: stored}


def test_a_listing_goes_on_over_pages(lake: ParquetStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_store, "_BLOBS_PER_PAGE", 2)
    paths = [f"pages/{number}.parquet" for number in range(5)]
    for path in paths:
        lake.put(path, TABLE, None)
    assert list(lake.list("pages/")) == paths
    assert list(lake.find(paths[1:4])) == paths[1:4]


# Damage


def damaged(container: ContainerClient, damage: Callable[[bytes], bytes]) -> bytes:
    """Replace the bytes of the blob; the MD5 stored with it is that of the new ones."""
    content = damage(container.download_blob(PATH).readall())
    settings = ContentSettings(content_md5=bytearray(hashlib.md5(content).digest()))
    container.upload_blob(PATH, content, overwrite=True, content_settings=settings)
    return content


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:4] + b"\xff" * 8 + content[12:],
        lambda content: b'{"error": "not a file at all"}',
    ],
    ids=["cut off", "overwritten", "something else"],
)
def test_a_file_that_is_damaged_is_named(
    damage: Callable[[bytes], bytes], lake: ParquetStore, container: ContainerClient
) -> None:
    lake.put(PATH, TABLE, None)
    damaged(container, damage)
    with pytest.raises(BlobDamaged, match=f"{lake.container_uri}/{PATH}") as raised:
        lake.get(PATH)
    assert "\n" not in str(raised.value)


def test_bytes_that_are_not_those_that_were_put_are_damage(
    lake: ParquetStore, container: ContainerClient
) -> None:
    """Bytes that still are a Parquet file."""
    lake.put(PATH, TABLE, None)
    content = damaged(container, lambda content: content)
    lake.get(PATH)
    wrong = ContentSettings(content_md5=bytearray(hashlib.md5(content[1:]).digest()))
    container.get_blob_client(PATH).set_http_headers(wrong)
    with pytest.raises(BlobDamaged, match=f"{PATH}.*MD5"):
        lake.get(PATH)


@pytest.mark.parametrize("place", [1, 4, 9])
def test_a_page_whose_bytes_have_changed_is_damage_also_where_one_column_is_read(
    place: int, lake: ParquetStore, container: ContainerClient
) -> None:
    lake.put(PATH, TABLE, None)

    def damage(content: bytes) -> bytes:
        column = pq.ParquetFile(BytesIO(content)).metadata.row_group(0).column(1)
        end = column.dictionary_page_offset + column.total_compressed_size
        return (
            content[: end - place] + bytes([content[end - place] ^ 1]) + content[end - place + 1 :]
        )

    damaged(container, damage)
    assert lake.get(PATH, ["time"]) == TABLE.select(["time"])
    with pytest.raises(BlobDamaged, match=PATH):
        lake.get(PATH, [TABLE.column_names[1]])


def test_a_blob_without_md5_is_read(lake: ParquetStore, container: ContainerClient) -> None:
    """As Azure keeps those that other tools put in blocks."""
    lake.put(PATH, TABLE, None)
    container.get_blob_client(PATH).set_http_headers(ContentSettings())
    assert lake.get(PATH) == TABLE


# Accounts and secrets


@pytest.mark.parametrize("credential", ["connection string", "key", "sas"])
def test_accounts_open_with(
    credential: str, lake: ParquetStore, account_url: str, azurite: str
) -> None:
    sas = account_sas(timedelta(hours=1))
    storage = {
        "connection string": AzureStorageResource(connection_string=azurite),
        "key": AzureStorageResource(account_url=account_url, account_key=AZURITE_KEY),
        "sas": AzureStorageResource(account_url=account_url, sas_token=sas),
    }[credential]
    with storage.get_client() as service:
        ParquetStore(service, name_of(lake)).put(PATH, TABLE, None)
    assert lake.get(PATH) == TABLE


def test_a_credential_of_one_container_is_enough(lake: ParquetStore, account_url: str) -> None:
    lake.put("made", OTHER, None)
    expiry = datetime.now(UTC) + timedelta(hours=1)
    permission = ContainerSasPermissions(read=True, write=True, list=True, create=True)
    sas = generate_container_sas(
        ACCOUNT, name_of(lake), AZURITE_KEY, permission=permission, expiry=expiry
    )
    with BlobServiceClient(account_url, sas) as service:
        store = ParquetStore(service, name_of(lake))
        store.put(PATH, TABLE, None)
        assert store.get(PATH) == TABLE
        assert store.uri(PATH) == lake.uri(PATH)


@each_use
@pytest.mark.parametrize("key", [WRONG_KEY, "not base64"], ids=["wrong", "malformed"])
def test_a_refused_key_is_an_error_of_one_line_that_says_so(
    key: str, use: Use, account_url: str
) -> None:
    said = error_of(use, account_url, {"account_name": ACCOUNT, "account_key": key})
    assert said.startswith(account_url)
    assert "refused the credential" in said
    assert key not in said
    assert "\n" not in said


@each_use
def test_a_refused_sas_is_not_told(use: Use, account_url: str) -> None:
    sas = account_sas(-timedelta(hours=1))
    assert_not_told(sas, error_of(use, account_url, sas))


@each_use
@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "127.0.0.1:99999", "nowhere.invalid"])
def test_the_sas_for_an_unreachable_account_is_not_told(host: str, use: Use) -> None:
    url, sas = f"http://{host.format(port=free_port())}/{ACCOUNT}", account_sas(timedelta(hours=1))
    for account_url, credential in ((url, sas), (f"{url}?{sas}", None)):
        said = error_of(use, account_url, credential)
        assert_not_told(sas, said)
        assert said.startswith(url)
        assert "cannot be reached" in said


@each_use
def test_the_sas_is_not_told_though_a_server_answers_with_it(use: Use) -> None:
    sas = account_sas(timedelta(hours=1))
    with echoing_server() as url:
        said = error_of(use, url, sas)
    assert_not_told(sas, said)
    assert "answered 400" in said
    assert "sp=rwlc" in said


def assert_not_told(sas: str, said: str) -> None:
    signature = sas.partition("sig=")[2]
    assert len(signature) > 40
    assert signature not in said
    assert unquote(signature) not in said
    assert "\n" not in said


@contextmanager
def echoing_server() -> Iterator[str]:
    """A proxy that cannot serve a request and says which."""

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
def test_an_unreachable_account_is_tried_again_for_half_a_minute_at_most(
    use: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    url = f"http://127.0.0.1:{free_port()}/{ACCOUNT}"
    storage = AzureStorageResource(account_url=url, account_key=AZURITE_KEY)
    with storage.get_client() as service, pytest.raises(StorageError, match="be reached") as raised:
        use(ParquetStore(service, "lake"))
    assert "\n" not in str(raised.value)
    assert len(pauses) >= 3
    assert 5 < sum(pauses) < 40


def test_times_take_hardly_any_room(lake: ParquetStore) -> None:
    times = pa.array(range(0, 600_000_000_000, 60_000_000), pa.timestamp("us", "UTC"))
    table = pa.table({"time": times})
    assert lake.put("times.parquet", table, None).size < 2 * len(times)
    assert lake.get("times.parquet").equals(table)
