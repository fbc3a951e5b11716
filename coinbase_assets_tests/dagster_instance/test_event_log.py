"""The event log that stores batches has the same content as Dagster's own."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.events import AssetObservationData, StepMaterializationData
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable

from coinbase_assets.dagster_instance.deployment import SILENT
from coinbase_assets.dagster_instance.event_log import BatchedSqliteEventLogStorage
from coinbase_assets.dagster_instance.run_tags import range_tags

OURS = {
    "module": "coinbase_assets.dagster_instance.event_log",
    "class": "BatchedSqliteEventLogStorage",
}
THEIRS = {"module": "dagster._core.storage.event_log", "class": "SqliteEventLogStorage"}
KEY = dg.AssetKey("days")
DAYS = [f"2024-01-{day:02}" for day in range(1, 32)]


@dg.asset(
    key=KEY,
    partitions_def=dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-03-01"),
    backfill_policy=dg.BackfillPolicy.single_run(),
    check_specs=[dg.AssetCheckSpec("is_there", asset=KEY)],
)
def days(context: dg.AssetExecutionContext) -> Iterator[Any]:
    for key in context.partition_keys:
        context.add_asset_metadata({"day": key}, partition_key=key)
    yield dg.MaterializeResult(tags={"made": "today"})
    yield dg.AssetCheckResult(passed=True)


JOB = dg.Definitions([days]).resolve_implicit_global_asset_job_def()


@contextmanager
def instance_with(storage: Mapping[str, str], home: Path) -> Iterator[dg.DagsterInstance]:
    home.mkdir(exist_ok=True)
    config = {**storage, "config": {"base_dir": str(home / "history" / "runs")}}
    overrides = {"telemetry": {"enabled": False}, "event_log_storage": config}
    with dg.DagsterInstance.local_temp(str(home), overrides=overrides) as instance:
        yield instance


def materialize(instance: dg.DagsterInstance, first: str, last: str) -> str:
    tags = range_tags(first, last)
    return JOB.execute_in_process(instance=instance, tags=tags, run_config=SILENT).run_id


def recorded(instance: dg.DagsterInstance) -> dict[str, Any]:
    """What Dagster has recorded of the asset, without what differs between any two runs."""
    runs = instance.get_runs()
    fetched = instance.fetch_materializations(KEY, limit=1000).records
    planned = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
    record = instance.get_asset_records([KEY])[0].asset_entry
    assert record.last_materialization_record
    return {
        "materialised": [
            (
                event.partition_key,
                event.asset_materialization and event.asset_materialization.metadata,
            )
            for event in fetched
        ],
        "partitions": instance.get_materialized_partitions(KEY),
        "places": list(instance.get_latest_storage_id_by_partition(KEY, planned)),
        "tags": instance.get_event_tags_for_asset(KEY, filter_tags={"made": "today"}),
        "newest": record.last_materialization_record.partition_key,
        "last run": [run.run_id for run in runs].index(record.last_run_id or ""),
        "events of runs": [
            [
                entry.dagster_event_type
                for entry in instance.all_logs(run.run_id)
                if entry.is_dagster_event
            ]
            for run in runs
        ],
        "checks": len(instance.event_log_storage.get_latest_asset_check_execution_by_key([])),
    }


def test_event_log_has_same_content_as_dagsters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "10")
    found = []
    for name, storage in (("ours", OURS), ("theirs", THEIRS)):
        with instance_with(storage, tmp_path / name) as instance:
            materialize(instance, DAYS[0], DAYS[-1])
            materialize(instance, DAYS[3], DAYS[7])
            found.append(recorded(instance))
    assert found[0] == found[1]
    assert found[0]["partitions"] == set(DAYS)
    assert len(found[0]["materialised"]) == 31 + 5


@pytest.mark.soak
def test_event_log_shares_files_with_dagsters(tmp_path: Path) -> None:
    for number, storage in enumerate((THEIRS, OURS, THEIRS, OURS), 1):
        with instance_with(storage, tmp_path) as instance:
            materialize(instance, DAYS[number], DAYS[number])
            assert instance.get_materialized_partitions(KEY) == set(DAYS[1 : number + 1])
            assert all(instance.all_logs(run.run_id) for run in instance.get_runs())
            instance.upgrade()


def test_event_log_looks_at_tables_of_a_file_once_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened() -> bool:
        """Open the storage as a tick of a sensor does; return whether it looked at the tables."""
        looks.clear()
        with instance_with(OURS, tmp_path / "home") as instance:
            assert instance.fetch_materializations(KEY, limit=1).records == []
        return bool(looks)

    def look(*arguments: Any, **options: Any) -> None:
        looks.append(arguments)
        initialize(*arguments, **options)

    looks = list[object]()
    initialize = BatchedSqliteEventLogStorage._initdb
    monkeypatch.setattr(BatchedSqliteEventLogStorage, "_initdb", look)
    assert opened()
    assert not opened()
    (tmp_path / "home" / "history" / "runs" / "index.db").rename(tmp_path / "kept")
    assert opened()
    assert not opened()


def test_event_log_reuses_no_id_of_deleted_event(tmp_path: Path) -> None:
    """A sensor whose cursor has passed the id would miss the event that gets it again."""
    with instance_with(OURS, tmp_path) as instance:
        materialize(instance, DAYS[0], DAYS[1])
        deleted = materialize(instance, DAYS[2], DAYS[5])
        newest = max(places(instance).values())
        instance.delete_run(deleted)
        assert set(places(instance)) == set(DAYS[:2])
        materialize(instance, DAYS[6], DAYS[7])
        assert min(places(instance)[day] for day in DAYS[6:8]) > newest
        assert instance.get_materialized_partitions(KEY) == {*DAYS[:2], *DAYS[6:8]}


def places(instance: dg.DagsterInstance) -> Mapping[str, int]:
    kind = dg.DagsterEventType.ASSET_MATERIALIZATION
    return instance.get_latest_storage_id_by_partition(KEY, kind)


def test_event_log_batch_is_one_transaction_per_file(tmp_path: Path) -> None:
    commits: list[str] = []

    def commit(connection: sa.Connection) -> None:
        commits.append(Path(str(connection.engine.url.database)).stem)

    with instance_with(OURS, tmp_path) as instance:
        sa.event.listen(sa.Engine, "commit", commit)
        try:
            run_id = materialize(instance, DAYS[0], DAYS[-1])
        finally:
            sa.event.remove(sa.Engine, "commit", commit)
    # 31 days, each planned and materialised.
    assert 2 <= commits.count("index") < 31
    assert 2 <= commits.count(run_id) < 31


def test_event_log_failing_batch_leaves_no_index_rows(tmp_path: Path) -> None:
    class FullDisk(Exception):
        """An exception that only this test raises and catches."""

    with instance_with(OURS, tmp_path) as instance:
        run_id = materialize(instance, DAYS[0], DAYS[0])
        log = instance.event_log_storage
        assert isinstance(log, BatchedSqliteEventLogStorage)
        entries = [
            entry
            for entry in instance.all_logs(run_id)
            if entry.dagster_event_type == dg.DagsterEventType.ASSET_MATERIALIZATION
        ]

        def fail(*arguments: object) -> None:
            raise FullDisk

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(log, "_store_asset_event", fail)
            with pytest.raises(FullDisk):
                log.store_event_batch(entries)
        assert len(instance.fetch_materializations(KEY, limit=10).records) == 1
        with log.index_connection() as index:
            count = sa.select(sa.func.count()).select_from(SqlEventLogStorageTable)
            of_run = count.where(
                SqlEventLogStorageTable.c.run_id == run_id,
                SqlEventLogStorageTable.c.dagster_event_type == "ASSET_MATERIALIZATION",
            )
            assert index.scalar(of_run) == 1


MADE = dg.AssetMaterialization(KEY, partition=DAYS[0])
MADE_LATER = dg.AssetMaterialization(KEY, partition=DAYS[1])
SEEN = dg.AssetObservation(KEY, partition=DAYS[2])


def entry(event: dg.AssetMaterialization | dg.AssetObservation, time: float) -> dg.EventLogEntry:
    """The event as a run records it at a time in seconds."""
    recorded = (
        dg.DagsterEvent("ASSET_OBSERVATION", "job", event_specific_data=AssetObservationData(event))
        if isinstance(event, dg.AssetObservation)
        else dg.DagsterEvent(
            "ASSET_MATERIALIZATION", "job", event_specific_data=StepMaterializationData(event)
        )
    )
    return dg.EventLogEntry(None, "debug", "", "run", time, dagster_event=recorded)


@pytest.mark.parametrize(
    ("events", "last"),
    [
        ((MADE, SEEN), MADE),
        ((SEEN, MADE), MADE),
        ((MADE, SEEN, MADE_LATER, SEEN), MADE_LATER),
        ((MADE_LATER, MADE), MADE),
    ],
)
def test_event_log_batch_keeps_last_materialization_of_asset(
    tmp_path: Path,
    events: Sequence[dg.AssetMaterialization | dg.AssetObservation],
    last: dg.AssetMaterialization,
) -> None:
    found = []
    for name, storage in (("ours", OURS), ("theirs", THEIRS)):
        with instance_with(storage, tmp_path / name) as instance:
            batch = [entry(event, 1.7e9 + place) for place, event in enumerate(events)]
            instance.event_log_storage.store_event_batch(batch)
            found.append(instance.get_asset_records([KEY])[0].asset_entry)
    assert found[0] == found[1]
    assert found[0].last_materialization_record
    assert found[0].last_materialization_record.asset_materialization == last


def test_event_log_default_folder_is_below_dagster_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    BatchedSqliteEventLogStorage.from_config_value(None, {})
    assert (tmp_path / "history" / "runs" / "index.db").exists()


def test_event_log_requires_dagster_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME")
    with pytest.raises(dg.DagsterInvariantViolationError, match=r"^DAGSTER_HOME: not set; "):
        BatchedSqliteEventLogStorage.from_config_value(None, {})
