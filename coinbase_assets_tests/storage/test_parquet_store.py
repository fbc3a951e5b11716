"""Tables in Azure: put and get, find and list, conditions, damage."""

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from azure.storage.blob import (
    BlobServiceClient,
    ContainerClient,
    ContentSettings,
)

from coinbase_assets.storage.azure_blobs import AzureBlobs
from coinbase_assets.storage.errors import BlobChanged, BlobDamaged, PartitionMissing, StorageError
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets.storage.table_sizes import MOST_BYTES
from coinbase_assets.table_metadata import with_fields

pytestmark = pytest.mark.both_addresses

PATH = "prices/date=2024-01-01/prices.parquet"
FIELDS = {"version": "3", "series": "ETH-EUR:15m"}
SCHEMA = pa.schema(
    {"time": pa.timestamp("us", "UTC"), "price": pa.float64(), "note": pa.string()},
    metadata={"theirs": "kept"},
)
ROWS = [{"time": n, "price": n / 8, "note": str(n)} for n in range(1000)]
TABLE = with_fields(pa.Table.from_pylist(ROWS, SCHEMA), FIELDS)
OTHER = pa.table({"price": [1.5]})
# Put and get


def test_put_then_get_returns_same_table(lake: ParquetStore) -> None:
    lake.put(PATH, TABLE, None)
    assert lake.get(PATH).equals(TABLE, check_metadata=True)


def test_put_bytes_replaces_file(lake: ParquetStore, container: ContainerClient) -> None:
    """The container does not exist yet."""
    for content in (b"a picture", b"another"):
        stored = lake.put_bytes("charts/chart.png", content, "image/png")
        download = container.download_blob("charts/chart.png")
        assert download.readall() == content
        settings = download.properties.content_settings
        assert settings.content_type == "image/png"
        assert settings.content_md5 == bytearray(hashlib.md5(content).digest())
        assert lake.list("") == {"charts/chart.png": stored}


def test_put_stores_fields_in_file_and_blob(lake: ParquetStore, container: ContainerClient) -> None:
    stored = lake.put(PATH, TABLE, None)
    content = container.download_blob(PATH).readall()
    in_the_file = pq.read_metadata(pa.BufferReader(content)).metadata
    assert in_the_file[b"coinbase_assets.version"] == b"3"
    assert in_the_file[b"coinbase_assets.series"] == b"ETH-EUR:15m"
    assert stored.fields == {
        **FIELDS,
        "rows": "1000",
        "path": PATH,
        "bytes": str(len(content)),
        "md5": hashlib.md5(content).hexdigest(),
    }
    assert stored.version == 3
    assert stored.size == len(content)
    assert lake.list("") == {PATH: stored}


def test_put_omits_empty_field(lake: ParquetStore) -> None:
    stored = lake.put(PATH, with_fields(TABLE, {"note": ""}), None)
    assert lake.find([PATH])[PATH].fields == stored.fields


@pytest.mark.parametrize("single_put", [2**20, 2**10], ids=["at once", "in blocks"])
def test_put_compresses_and_stores_md5(
    single_put: int, lake: ParquetStore, container: ContainerClient, azurite: str
) -> None:
    sizes: dict[str, Any] = {"max_single_put_size": single_put, "max_block_size": single_put}
    with BlobServiceClient.from_connection_string(azurite, **sizes) as service:
        ParquetStore(AzureBlobs(service, container.container_name)).put(PATH, TABLE, None)
    download = container.download_blob(PATH)
    content, settings = download.readall(), download.properties.content_settings
    assert len(content) > 2**10
    assert bytes(settings.content_md5 or b"") == hashlib.md5(content).digest()
    assert settings.content_type == "application/vnd.apache.parquet"
    row_group = pq.read_metadata(pa.BufferReader(content)).row_group(0)
    assert {row_group.column(n).compression for n in range(3)} == {"ZSTD"}


def test_get_selects_columns(lake: ParquetStore) -> None:
    lake.put(PATH, TABLE, None)
    assert lake.get(PATH, ["note", "price"]).column_names == ["note", "price"]


def test_get_names_unknown_column(lake: ParquetStore) -> None:
    lake.put(PATH, TABLE, None)
    with pytest.raises(StorageError, match="prcie") as raised:
        lake.get(PATH, ["prcie"])
    assert "delete" not in str(raised.value)


def test_put_creates_container(lake: ParquetStore) -> None:
    assert lake.list("") == {}
    assert lake.find([PATH]) == {}
    with pytest.raises(PartitionMissing):
        lake.get(PATH)
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda n: lake.put(f"prices/{n}", TABLE, None), range(4)))
    assert len(lake.list("")) == 4


def test_get_names_missing_blob(lake: ParquetStore) -> None:
    lake.put("another", TABLE, None)
    with pytest.raises(PartitionMissing, match=f"{lake.container_uri}/{PATH}"):
        lake.get(PATH)


def test_put_accepts_any_character_in_path(lake: ParquetStore) -> None:
    path = "prices/place=Köln & Bonn/share=50% #1?.parquet"
    lake.put(path, TABLE, None)
    assert list(lake.list("prices/place=Köln &")) == [path]
    assert lake.get(path) == TABLE


# Find


def test_find_and_list_by_path(lake: ParquetStore) -> None:
    paths = ["a", "b/x", "b/x.parquet", "b/x/y", "b/xy", "c"]
    for path in paths:
        lake.put(path, OTHER, None)
    assert list(lake.find(["b/x"])) == ["b/x"]
    assert list(lake.find(["b/xy", "b/x", "b/missing"])) == ["b/x", "b/xy"]
    assert list(lake.find(["c", "a"])) == ["a", "c"]
    assert list(lake.list("b/x")) == ["b/x", "b/x.parquet", "b/x/y", "b/xy"]
    assert list(lake.list("")) == paths


def test_find_nothing_sends_no_request() -> None:
    with BlobServiceClient("http://127.0.0.1:1", retry_total=0) as service:
        assert ParquetStore(AzureBlobs(service, "lake")).find([]) == {}


# Metadata that anybody may have changed


@pytest.mark.parametrize(
    "damage",
    [
        {"rows": "many"},
        {"rows": "9" * 4400},
        {"version": "-5"},
        {"version": "[/x]"},
        {"answered_through": "tomorrow"},
        {"answered_through": "9999-12-31T23:59:59Z"},
    ],
    ids=str,
)
def test_damaged_metadata_is_read_from_file(
    damage: dict[str, str], lake: ParquetStore, container: ContainerClient
) -> None:
    stored = lake.put(PATH, with_fields(TABLE, {"answered_through": "2024-01-02T00:00:00Z"}), None)
    container.get_blob_client(PATH).set_blob_metadata({**stored.fields, **damage})
    assert lake.list("")[PATH].fields == stored.fields
    assert lake.find([PATH])[PATH].version == 3


def test_damaged_metadata_of_damaged_file_is_one_line(lake: ParquetStore) -> None:
    lake.put_bytes(PATH, b"?", "text")
    (blob,) = lake.survey("").values()
    assert blob.damage.startswith("not a complete Parquet file")
    with pytest.raises(BlobDamaged, match=f"^{PATH}: its metadata has no readable 'rows'"):
        blob.fields["rows"]
    assert (blob.version, lake.list("")) == (0, {})


# Only if unchanged


def test_put_new_refuses_existing_blob(lake: ParquetStore) -> None:
    stored = lake.put(PATH, TABLE, None)
    with pytest.raises(BlobChanged, match=PATH):
        lake.put(PATH, OTHER, None)
    assert lake.list("") == {PATH: stored}


def test_put_refuses_changed_blob(lake: ParquetStore) -> None:
    first = lake.put(PATH, TABLE, None)
    second = lake.put(PATH, OTHER, first)
    with pytest.raises(BlobChanged, match=PATH):
        lake.put(PATH, TABLE, first)
    assert lake.list("") == {PATH: second}
    assert lake.get(PATH) == OTHER


def test_put_refuses_deleted_blob(lake: ParquetStore, container: ContainerClient) -> None:
    stored = lake.put(PATH, TABLE, None)
    container.delete_blob(PATH)
    with pytest.raises(BlobChanged):
        lake.put(PATH, TABLE, stored)


def test_get_with_etag_refuses_changed_blob(lake: ParquetStore) -> None:
    first = lake.put(PATH, TABLE, None)
    assert lake.get(PATH, etag=first.etag) == TABLE
    lake.put(PATH, OTHER, first)
    with pytest.raises(BlobChanged, match=PATH):
        lake.get(PATH, etag=first.etag)


# Size


def test_get_refuses_huge_table(lake: ParquetStore) -> None:
    buffer = BytesIO()
    pq.write_table(pa.table({"price": pa.repeat(pa.scalar(1.5), 5_000_000)}), buffer)
    lake.put_bytes(PATH, buffer.getvalue(), "parquet")
    with pytest.raises(BlobDamaged, match=f"{PATH}: takes .* move the blob elsewhere"):
        lake.get(PATH)
    assert lake.survey("")[PATH].damage.startswith("takes ")
    assert lake.list("") == {}


@pytest.mark.soak
def test_get_refuses_huge_blob(lake: ParquetStore) -> None:
    lake.put_bytes(PATH, bytes(MOST_BYTES + 1), "parquet")
    with pytest.raises(BlobDamaged, match=f"{PATH}: takes {MOST_BYTES + 1:,} bytes or more"):
        lake.get(PATH)


def test_put_refuses_huge_table(lake: ParquetStore) -> None:
    table = pa.table({"price": pa.repeat(pa.scalar(1.5), 5_000_000)})
    with pytest.raises(StorageError, match="store it in several partitions"):
        lake.put(PATH, table, None)
    assert lake.list("") == {}


# Damage


def damaged(container: ContainerClient, damage: Callable[[bytes], bytes]) -> bytes:
    """Replace the bytes of the blob, and the MD5 stored with it to match."""
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
def test_get_refuses_damaged_file(
    damage: Callable[[bytes], bytes], lake: ParquetStore, container: ContainerClient
) -> None:
    lake.put(PATH, TABLE, None)
    damaged(container, damage)
    with pytest.raises(BlobDamaged, match=f"{lake.container_uri}/{PATH}") as raised:
        lake.get(PATH)
    assert "\n" not in str(raised.value)


def test_get_refuses_wrong_md5(lake: ParquetStore, container: ContainerClient) -> None:
    """The bytes are still a complete Parquet file."""
    lake.put(PATH, TABLE, None)
    content = damaged(container, lambda content: content)
    lake.get(PATH)
    wrong = ContentSettings(content_md5=bytearray(hashlib.md5(content[1:]).digest()))
    container.get_blob_client(PATH).set_http_headers(wrong)
    with pytest.raises(BlobDamaged, match=f"{PATH}.*MD5"):
        lake.get(PATH)


@pytest.mark.parametrize("place", [1, 4, 9])
def test_get_column_refuses_damaged_page(
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


def test_get_accepts_blob_without_md5(lake: ParquetStore, container: ContainerClient) -> None:
    """Azure stores no MD5 with blobs that other tools upload in blocks."""
    lake.put(PATH, TABLE, None)
    container.get_blob_client(PATH).set_http_headers(ContentSettings())
    assert lake.get(PATH) == TABLE


def test_put_encodes_times_compactly(lake: ParquetStore) -> None:
    times = pa.array(range(0, 600_000_000_000, 60_000_000), pa.timestamp("us", "UTC"))
    table = pa.table({"time": times})
    assert lake.put("times.parquet", table, None).size < 2 * len(times)
    assert lake.get("times.parquet").equals(table)
