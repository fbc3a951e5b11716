"""Whatever happens to the lake's blobs is noticed by the status, and mended by a plain collect."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from io import BytesIO
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from azure.storage.blob import BlobServiceClient, ContainerClient, ContentSettings

from coinbase_assets.automation.collector import Collector
from coinbase_assets.candles.blob_rules import LakeRules
from coinbase_assets.candles.series import Series
from coinbase_assets.environment.setting_values import parse_rollups
from coinbase_assets.lake.status import SeriesStatus, series_status
from coinbase_assets.storage.azure_blobs import AzureBlobs
from coinbase_assets.storage.blob_source import Download
from coinbase_assets.storage.parquet_store import DAMAGED, ParquetStore
from coinbase_assets_tests.conftest import new_instance_at
from coinbase_assets_tests.running import asset_job, settings_for
from coinbase_assets_tests.stand_in.exchange import StandInExchange
from coinbase_assets_tests.stand_in.markets import SyntheticMarket

SERIES = Series.parse("ETH-EUR:1h")
ROLLUPS = parse_rollups("ETH-EUR:1h>6h")
DAYS = ["2024-01-30", "2024-01-31", "2024-02-01", "2024-02-02"]
FOLDER = "product=ETH-EUR/granularity=1h"
RAW = f"raw_candles/{FOLDER}/date={{}}/candles.parquet"
HISTORY = f"candle_history/{FOLDER}/month={{}}/candles.parquet"
LEDGER = f"candle_coverage/{FOLDER}/month={{}}/coverage.parquet"
ROLLUP = "candle_rollup/product=ETH-EUR/granularity=6h/month={}/candles.parquet"
DAY, NEXT_DAY, MONTH = RAW.format(DAYS[1]), RAW.format(DAYS[2]), HISTORY.format("2024-01")
# Where a copy of the history from an earlier time lies, outside of the lake's folders.
OLDER = "copies/candles.parquet"
# The same of files that another lake has for the same candles.
THEIRS = "copies/of_another_lake/{}"
TODAY = date(2024, 2, 4)
NOW = datetime(2024, 6, 1, tzinfo=UTC).timestamp()


@dataclass(frozen=True)
class Blob:
    """What a container holds at a path."""

    content: bytes
    metadata: Mapping[str, str]


Lake = dict[str, Blob]


def collector_of(url: str, instance: dg.DagsterInstance, store: ParquetStore) -> Collector:
    settings = settings_for(url, str(SERIES)).model_copy(update={"rollups": ROLLUPS})
    return Collector(asset_job(settings), instance, store)


@pytest.fixture
def exchange() -> Iterator[StandInExchange]:
    with StandInExchange(rate=None, clock=lambda: NOW) as exchange:
        yield exchange


@pytest.fixture
def collector(
    exchange: StandInExchange, instance: dg.DagsterInstance, lake: ParquetStore
) -> Collector:
    return collector_of(exchange.url, instance, lake)


@pytest.fixture(scope="module")
def collected(azurite: str, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """The blobs of a sound lake, collected once."""
    home = tmp_path_factory.mktemp("home")
    with (
        pytest.MonkeyPatch.context() as patch,
        BlobServiceClient.from_connection_string(azurite) as service,
        StandInExchange(rate=None, clock=lambda: NOW) as exchange,
        new_instance_at(home) as instance,
    ):
        patch.setenv("AZURE_STORAGE_CONNECTION_STRING", azurite)
        patch.setenv("COINBASE_CONTAINER", f"whole-{home.name.replace('_', '-')}")
        name = settings_for(exchange.url, str(SERIES)).container
        collector = collector_of(exchange.url, instance, store_at(service, name))
        container = service.get_container_client(name)
        assert not collector.collect(collector.plan(SERIES, DAYS[:1])).failed
        older = blobs_of(container)[MONTH]
        outcome = collector.collect(collector.plan(SERIES, DAYS))
        assert not outcome.failed, outcome
        theirs = collected_elsewhere(service, f"{name}-theirs", tmp_path_factory.mktemp("theirs"))
        return {**blobs_of(container), OLDER: older, **theirs}


def collected_elsewhere(service: BlobServiceClient, container: str, home: Path) -> Lake:
    """Collect other candles of the same days into another lake; return two of its files."""
    market = SyntheticMarket("ETH-EUR", untraded=0.0, price=999.0)
    with (
        StandInExchange(rate=None, clock=lambda: NOW, markets={"ETH-EUR": market}) as exchange,
        new_instance_at(home) as instance,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("COINBASE_CONTAINER", container)
        collector = collector_of(exchange.url, instance, store_at(service, container))
        assert not collector.collect(collector.plan(SERIES, DAYS)).failed
    blobs = blobs_of(service.get_container_client(container))
    return {THEIRS.format(path): blobs[path] for path in (DAY, MONTH)}


def store_at(service: BlobServiceClient, container: str) -> ParquetStore:
    return ParquetStore(AzureBlobs(service, container), LakeRules())


def blobs_of(container: ContainerClient) -> Lake:
    return {
        blob.name: Blob(container.download_blob(blob.name).readall(), dict(blob.metadata or {}))
        for blob in container.list_blobs(include=["metadata"])
    }


def upload(container: ContainerClient, path: str, blob: Blob) -> None:
    container.upload_blob(
        path,
        blob.content,
        overwrite=True,
        metadata=dict(blob.metadata),
        content_settings=ContentSettings("application/vnd.apache.parquet"),
    )


@pytest.fixture
def damaged(container: ContainerClient, collected: Lake) -> ContainerClient:
    """A copy of the sound lake, to be damaged."""
    container.create_container()
    for path, blob in collected.items():
        upload(container, path, blob)
    return container


def written(table: pa.Table) -> bytes:
    buffer = BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def read(content: bytes) -> pa.Table:
    return pq.ParquetFile(BytesIO(content)).read()


def values(blob: Blob) -> pa.Table:
    """Return the blob's table, without the times of answers."""
    table = read(blob.content)
    return table.drop_columns(["evidence"]) if "evidence" in table.column_names else table


Damage = Callable[[ContainerClient, Lake], None]


def deleted(path: str) -> Damage:
    return lambda container, lake: container.delete_blob(path)


def content(path: str, new: Callable[[bytes], bytes], metadata: bool = True) -> Damage:
    """Replace a blob's bytes; its metadata is kept, or dropped."""

    def damage(container: ContainerClient, lake: Lake) -> None:
        kept = lake[path].metadata if metadata else {}
        upload(container, path, Blob(new(lake[path].content), kept))

    return damage


def moved(path: str, source: str) -> Damage:
    """Put another blob of the lake, with its metadata, into the place of this one."""
    return lambda container, lake: upload(container, path, lake[source])


def changed(path: str, change: Callable[[pa.Table], pa.Table]) -> Damage:
    """Change the table, and keep all that says what it is."""
    return content(path, lambda old: written(change(read(old))))


def one_value(table: pa.Table) -> pa.Table:
    close = pc.multiply(table["close"], 1.0).to_pylist()
    prices = pa.array([(low + high) / 2 + 1e-9 for low, high in _ends(table)][:1] + close[1:])
    return table.set_column(table.column_names.index("close"), table.schema.field("close"), prices)


def _ends(table: pa.Table) -> list[tuple[float, float]]:
    return list(zip(table["low"].to_pylist(), table["high"].to_pylist(), strict=True))


def all_metadata(change: Callable[[Mapping[str, str]], Mapping[str, str]]) -> Damage:
    def damage(container: ContainerClient, lake: Lake) -> None:
        for path, blob in lake.items():
            upload(container, path, Blob(blob.content, change(blob.metadata)))

    return damage


def other_series(old: bytes) -> bytes:
    table = read(old)
    named = {b"coinbase_assets.series": b"BTC-EUR:1h"}
    return written(table.replace_schema_metadata({**table.schema.metadata, **named}))


def half(old: bytes) -> bytes:
    return old[: len(old) // 2]


def nothing(old: bytes) -> bytes:
    return b""


def foreign(old: bytes) -> bytes:
    return written(pa.table({"price": [1.0, 2.0]}))


def no_footer(old: bytes) -> bytes:
    return written(read(old).replace_schema_metadata(None))


DAMAGES: Mapping[str, Damage] = {
    "history deleted": deleted(MONTH),
    "ledger deleted": deleted(LEDGER.format("2024-01")),
    "rollup deleted": deleted(ROLLUP.format("2024-02")),
    "raw day deleted": deleted(DAY),
    **{
        f"{name} {kind}": content(path, new)
        for name, path in {
            "raw": DAY,
            "history": MONTH,
            "ledger": LEDGER.format("2024-02"),
            "rollup": ROLLUP.format("2024-01"),
        }.items()
        for kind, new in {"truncated": half, "empty": nothing, "foreign": foreign}.items()
    },
    "raw foreign without metadata": content(DAY, foreign, metadata=False),
    "raw without footer": content(DAY, no_footer, metadata=False),
    "raw of the next day": moved(DAY, NEXT_DAY),
    "raw of another series": content(DAY, other_series),
    "raw of another lake": moved(DAY, THEIRS.format(DAY)),
    "history of another lake": moved(MONTH, THEIRS.format(MONTH)),
    "history of the next month": moved(MONTH, HISTORY.format("2024-02")),
    "history of an earlier time": moved(MONTH, OLDER),
    "history without footer": content(MONTH, no_footer, metadata=False),
    "value altered, raw": changed(DAY, one_value),
    "value altered, history": changed(MONTH, one_value),
    "ledger row gone": changed(LEDGER.format("2024-02"), lambda table: table[1:]),
    "all metadata stripped": all_metadata(lambda fields: {}),
    "all metadata capitalised": all_metadata(
        lambda fields: {name.capitalize(): text for name, text in fields.items()}
    ),
}
QUICK = ("raw truncated", "raw of another lake")
NOTICED_QUICKLY = ("history deleted", "raw of", "value altered", "ledger row", "rollup empty")


def status_of(container: ContainerClient, lake: ParquetStore) -> SeriesStatus:
    return series_status(lake, SERIES, TODAY, ROLLUPS)


def test_sound_lake_has_no_damage(damaged: ContainerClient, lake: ParquetStore) -> None:
    found = status_of(damaged, lake)
    assert (found.damage, found.foreign, found.complete) == ([], [], True)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name.startswith(NOTICED_QUICKLY) else pytest.mark.soak)
        for name in DAMAGES
    ],
)
def test_damage_is_noticed(
    name: str, damaged: ContainerClient, lake: ParquetStore, collected: Lake
) -> None:
    DAMAGES[name](damaged, collected)
    found = status_of(damaged, lake)
    assert found.damage
    assert not found.complete
    assert all("\n" not in line for line in found.damage)
    if "of another lake" in name:
        line, path = found.damage[0], DAY if name.startswith("raw") else MONTH
        assert line.startswith(f"{path} is damaged (it belongs to another lake, whose id ")
        assert line.endswith("has no mark in lakes/); `coinbase-assets collect` replaces it")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.soak) for name in DAMAGES],
)
def test_damage_is_mended_by_plain_collect(
    name: str,
    damaged: ContainerClient,
    lake: ParquetStore,
    collected: Lake,
    exchange: StandInExchange,
    collector: Collector,
) -> None:
    DAMAGES[name](damaged, collected)
    broken = blobs_of(damaged)
    outcome = collector.collect(collector.plan(SERIES, DAYS[-1:]))
    assert not outcome.failed
    assert status_of(damaged, lake).damage == []
    after = blobs_of(damaged)
    assert collected.keys() <= after.keys()
    for path in collected:
        if path.startswith(("raw_candles/", "candle_")):
            assert values(after[path]).equals(values(collected[path])), path
    kept = {blob.content for path, blob in after.items() if path.startswith(DAMAGED)}
    sound = {blob.content for path, blob in collected.items() if "another_lake" not in path}
    replaced = {path for path in broken if after[path].content != broken[path].content}
    lost = {broken[path].content for path in replaced}
    assert lost >= kept >= lost - sound
    asked = [request.params.get("start", "")[:10] for request in exchange.requests]
    assert bool(asked) is name.startswith(("raw", "value altered, raw"))


def test_healthy_status_reads_no_blob(
    damaged: ContainerClient, lake: ParquetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: AzureBlobs, path: str, etag: str | None = None) -> Download:
        raise AssertionError(f"read {path}")

    monkeypatch.setattr(AzureBlobs, "get", refuse)
    assert status_of(damaged, lake).complete


FOREIGN = {
    "raw_candles/product=ETH-EUR/granularity=1h/_SUCCESS": False,
    f"raw_candles/{FOLDER}": False,
    f"raw_candles/{FOLDER} copy/date=2024-01-30/candles.parquet": False,
    f"raw_candles/{FOLDER}/date=2024-13-45/candles.parquet": False,
    f"raw_candles/{FOLDER}/date=2031-01-01/candles.parquet": False,
    f"raw_candles/{FOLDER}/date=2024-01-30/part-0.parquet": True,
    f"candle_history/{FOLDER}/month=2024-01/candles (1).parquet": True,
}
"""Paths that the lake does not use, and whether readers of a folder count their candles twice."""


@pytest.mark.parametrize("path", FOREIGN)
def test_foreign_names_are_named(
    path: str, damaged: ContainerClient, lake: ParquetStore, collected: Lake
) -> None:
    upload(damaged, path, collected[DAY])
    found = status_of(damaged, lake)
    assert found.complete is not FOREIGN[path]
    assert (path in found.foreign) is not FOREIGN[path]
    assert [path in line for line in found.damage] == [True] * FOREIGN[path]


@pytest.mark.soak
@pytest.mark.parametrize("path", FOREIGN)
def test_foreign_names_are_left_alone(
    path: str, damaged: ContainerClient, collected: Lake, collector: Collector
) -> None:
    upload(damaged, path, collected[DAY])
    assert not collector.collect(collector.plan(SERIES, DAYS[-1:])).failed
    assert blobs_of(damaged)[path] == collected[DAY]
