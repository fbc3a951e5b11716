"""Whose files a lake holds. None of its own counts as another lake's, however it was moved."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import dagster as dg
import pytest
from azure.storage.blob import BlobServiceClient, ContainerClient

from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets.table_metadata import NAMESPACE, with_fields
from coinbase_assets_tests.lake.test_damage import (
    DAY,
    DAYS,
    MONTH,
    NEXT_DAY,
    RAW,
    SERIES,
    THEIRS,
    Blob,
    Lake,
    blobs_of,
    collected,
    damaged,
    read,
    status_of,
    store_at,
    upload,
    values,
    written,
)
from coinbase_assets_tests.running import collect_raw, land, settings_for
from coinbase_assets_tests.stand_in.exchange import StandInExchange
from coinbase_assets_tests.stand_in.markets import SyntheticMarket

__all__ = ["collected", "damaged"]

MARKS = "lakes/"

Store = Callable[[], ParquetStore]


@pytest.fixture
def store(container: ContainerClient, azurite: str) -> Iterator[Store]:
    """Opens the container as a new process does."""
    with BlobServiceClient.from_connection_string(azurite) as service:
        yield lambda: store_at(service, container.container_name)


def marks_of(container: ContainerClient) -> list[str]:
    return [name.removeprefix(MARKS) for name in container.list_blob_names(name_starts_with=MARKS)]


def delete_marks(container: ContainerClient) -> None:
    for mark in marks_of(container):
        container.delete_blob(f"{MARKS}{mark}")


def damage_of(store: ParquetStore) -> list[str]:
    return [path for path, blob in store.survey("").items() if blob.damage]


def put_again(store: ParquetStore, path: str) -> str:
    """Store a table of the lake again; return the id that it names."""
    return store.put(path, store.get(path), store.find([path])[path]).fields["lake"]


def test_files_name_the_lake_and_its_mark_is_there(
    damaged: ContainerClient, store: Store, collected: Lake
) -> None:
    (mark,) = marks_of(damaged)
    named = {blob.metadata["lake"] for path, blob in collected.items() if path in (DAY, MONTH)}
    assert named == {mark}
    assert collected[THEIRS.format(DAY)].metadata["lake"] != mark
    assert put_again(store(), DAY) == mark


def test_day_that_our_own_answer_changed_before_its_month_is_built_belongs_here(
    damaged: ContainerClient, store: Store, collected: Lake, instance: dg.DagsterInstance
) -> None:
    """As after a crash between the two puts."""
    market = SyntheticMarket("ETH-EUR", untraded=0.0, price=999.0)
    land(instance, SERIES, DAYS[1])
    with StandInExchange(rate=None, markets={"ETH-EUR": market}) as exchange:
        collect_raw(settings_for(exchange.url, str(SERIES)), instance, DAYS[1])
    assert values(blobs_of(damaged)[DAY]) != values(collected[DAY])
    assert damage_of(store()) == []
    assert status_of(damaged, store()).damage == []


def test_first_writers_at_once_trust_each_other(
    container: ContainerClient, store: Store, collected: Lake
) -> None:
    empty = read(collected[DAY].content)[:0].replace_schema_metadata(None)
    day, stores = with_fields(empty, {"series": str(SERIES)}), [store() for _ in range(8)]
    assert [each.survey("") for each in stores] == [{}] * 8
    paths = [RAW.format(f"2024-03-{number:02}") for number in range(1, 9)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda each, path: each.put(path, day, None), stores, paths))
    assert marks_of(container)
    assert [damage_of(each) for each in [*stores, store()]] == [[]] * 9


def test_copy_without_marks_and_metadata_is_its_own_lake(
    damaged: ContainerClient, store: Store, collected: Lake
) -> None:
    (mark,) = marks_of(damaged)
    delete_marks(damaged)
    for path in collected:
        if path.endswith(".parquet"):
            upload(damaged, path, Blob(collected[path].content, {}))
    copied = store()
    assert damage_of(copied) == []
    assert put_again(copied, DAY) == mark
    assert marks_of(damaged) == [mark]
    assert damage_of(store()) == []


def test_lost_marks_of_several_lakes_come_back_as_one(
    damaged: ContainerClient, store: Store, collected: Lake
) -> None:
    ids = {collected[path].metadata["lake"] for path in (DAY, THEIRS.format(DAY))}
    upload(damaged, DAY, collected[THEIRS.format(DAY)])
    delete_marks(damaged)
    assert put_again(store(), NEXT_DAY) in ids
    assert marks_of(damaged) == ["-".join(sorted(ids))]
    assert damage_of(store()) == []


def test_mark_that_is_copied_with_the_files_makes_them_welcome(
    damaged: ContainerClient, store: Store, collected: Lake
) -> None:
    theirs, running = collected[THEIRS.format(DAY)], store()
    upload(damaged, DAY, theirs)
    assert damage_of(running) == damage_of(store()) == [DAY]
    damaged.upload_blob(f"{MARKS}{theirs.metadata['lake']}", b"")
    assert damage_of(running) == damage_of(store()) == []


def test_file_of_an_earlier_version_names_no_lake(
    damaged: ContainerClient, store: Store, collected: Lake
) -> None:
    table = read(collected[DAY].content)
    kept = {n: v for n, v in table.schema.metadata.items() if n != f"{NAMESPACE}lake".encode()}
    upload(damaged, DAY, Blob(written(table.replace_schema_metadata(kept)), {}))
    assert damage_of(store()) == []


def test_id_in_another_form_is_not_trusted_and_gets_no_mark(
    damaged: ContainerClient, store: Store, collected: Lake
) -> None:
    table = with_fields(read(collected[DAY].content), {"lake": "../\x1b[31m"})
    upload(damaged, DAY, Blob(written(table), {}))
    blob = store().survey(DAY)[DAY]
    assert blob.damage.startswith("it belongs to another lake, whose id ../\\x1b[31m has no mark")
    delete_marks(damaged)
    (mark,) = {collected[NEXT_DAY].metadata["lake"]}
    assert put_again(store(), NEXT_DAY) == mark
    assert marks_of(damaged) == [mark]
