"""A storage other than Azure: the store and the lake work on any BlobSource, here a folder."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from coinbase_assets import Lake
from coinbase_assets.candles.datasets import CANDLE_HISTORY
from coinbase_assets.candles.series import Series
from coinbase_assets.candles.table import SCHEMA
from coinbase_assets.lake.sql import query
from coinbase_assets.lake.status import series_status
from coinbase_assets.storage.blob_source import Download
from coinbase_assets.storage.errors import BlobChanged, BlobDamaged, PartitionMissing
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets.storage.stored_blob import StoredBlob
from coinbase_assets.table_metadata import with_fields

HOURS = Series.parse("ETH-EUR:1h")
START = datetime(2024, 1, 31, 22, tzinfo=UTC)


class LocalFolder:
    """The BlobSource of a folder, for one writer; a file beside each blob has its metadata."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.uri = folder.as_uri()

    def list(self, prefix: str) -> Iterator[StoredBlob]:
        paths = (path.relative_to(self._folder) for path in self._folder.rglob("*.blob.json"))
        names = sorted(str(path).removesuffix(".blob.json") for path in paths)
        return (self._stored(name) for name in names if name.startswith(prefix))

    def get(self, path: str, etag: str | None = None) -> Download:
        if not (self._folder / path).exists():
            raise PartitionMissing(f"{self.uri}/{path}: the blob does not exist")
        stored = self._stored(path)
        if etag and etag != stored.etag:
            raise BlobChanged(f"{self.uri}/{path}: another writer has changed the blob")
        return Download((self._folder / path).read_bytes(), bytes.fromhex(stored.etag))

    def put(
        self,
        path: str,
        content: bytes,
        content_type: str,
        fields: Mapping[str, str],
        replacing: StoredBlob | None = None,
        *,
        overwrite: bool = False,
    ) -> StoredBlob:
        file = self._folder / path
        found = self._stored(path) if file.exists() else None
        if not overwrite and (found and found.etag) != (replacing and replacing.etag):
            raise BlobChanged(f"{self.uri}/{path}: another writer has changed the blob")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.with_name(f"{file.name}.part").write_bytes(content)
        etag = hashlib.md5(content).hexdigest()
        stored = StoredBlob(path, etag, len(content), dict(fields))
        file.with_name(f"{file.name}.blob.json").write_text(json.dumps(vars(stored)))
        os.replace(file.with_name(f"{file.name}.part"), file)
        return stored

    def _stored(self, path: str) -> StoredBlob:
        return StoredBlob(**json.loads((self._folder / f"{path}.blob.json").read_text()))


def candles(first: datetime, count: int) -> pa.Table:
    times = [first + timedelta(hours=n) for n in range(count)]
    columns = {name: times if name == "time" else [1.5] * count for name in SCHEMA.names}
    return pa.table(columns, SCHEMA)


EVERYTHING = candles(START, 5)


@pytest.fixture
def folder(tmp_path: Path) -> LocalFolder:
    """A folder that holds two hours of January and three of February."""
    source = LocalFolder(tmp_path)
    store, template = ParquetStore(source), CANDLE_HISTORY.path(HOURS)
    for month, table in (("2024-01", EVERYTHING[:2]), ("2024-02", EVERYTHING[2:])):
        last = {"last_candle": table["time"][-1].as_py().isoformat(), "series": str(HOURS)}
        store.put(template.format(partition=month), with_fields(table, last), None)
    return source


def test_local_folder_refuses_changed_blob(tmp_path: Path) -> None:
    store = ParquetStore(LocalFolder(tmp_path))
    first = store.put("a/b.parquet", EVERYTHING, None)
    store.put("a/b.parquet", EVERYTHING[:1], first)
    for replacing in (None, first):
        with pytest.raises(BlobChanged):
            store.put("a/b.parquet", EVERYTHING, replacing)
    assert store.get("a/b.parquet") == EVERYTHING[:1]
    (tmp_path / "a" / "b.parquet").write_bytes(b"damage")
    with pytest.raises(BlobDamaged, match=r"a/b\.parquet: .* do not match the stored MD5"):
        store.get("a/b.parquet")


def test_lake_reads_local_folder(folder: LocalFolder) -> None:
    with Lake(folder) as lake:
        assert lake.series() == [HOURS]
        assert repr(lake) == f"Lake({folder.uri})"
        found = lake.read_candles_arrow(
            "ETH-EUR", "1h", START + timedelta(hours=1), "2024-03-01", allow_gaps=True
        )
        assert found == EVERYTHING[1:]
        assert lake.dataset().to_table(columns=SCHEMA.names) == EVERYTHING


def test_query_reads_local_folder(folder: LocalFolder) -> None:
    with Lake(folder) as lake:
        sql = "SELECT month, count(*) AS n FROM candle_history GROUP BY month ORDER BY month"
        assert query(lake, sql, "csv") == '"month","n"\n"2024-01",2\n"2024-02",3\n'


def test_status_reads_local_folder(folder: LocalFolder) -> None:
    status = series_status(ParquetStore(folder), HOURS, datetime(2024, 2, 3, tzinfo=UTC).date())
    assert (status.candles, status.last_candle) == (5, START + timedelta(hours=4))
