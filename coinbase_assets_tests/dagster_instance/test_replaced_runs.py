"""Superseded runs are deleted with all their records; other runs and the newest records stay."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
)
from sqlalchemy.exc import IntegrityError

from coinbase_assets.candles.datasets import CANDLE_HISTORY, RAW_CANDLES
from coinbase_assets.dagster_instance.deployment import SILENT
from coinbase_assets.dagster_instance.replaced_runs import RETENTION, Sweep, delete_superseded_runs
from coinbase_assets.definitions import build_definitions
from coinbase_assets_tests.dagster_instance.test_orphaned_runs import some_job, start_run
from coinbase_assets_tests.running import settings_for
from coinbase_assets_tests.stand_in.exchange import StandInExchange

LIVE = {"dagster/schedule_name": "live"}
HISTORY = {"dagster/sensor_name": "history"}
MANUAL_RETRY = {"dagster/parent_run_id": "first", "dagster/root_run_id": "first"}
RETRY = {**MANUAL_RETRY, "dagster/retry_number": "1"}
DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-11")
CHECK = dg.AssetCheckKey(dg.AssetKey("days"), "is_fine")


@dg.asset(
    partitions_def=DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    check_specs=[dg.AssetCheckSpec("is_fine", asset="days")],
)
def days(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Fails in runs that are tagged so."""
    if "fails" in context.run.tags:
        raise ValueError
    return dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=True)])


@dg.asset(name="days", partitions_def=DAYS)
def unchecked_days() -> None:
    """The same asset without its check."""


@dg.asset
def undivided() -> None:
    """An asset without partitions."""


def refresh(
    instance: dg.DagsterInstance,
    tags: dict[str, str],
    first: int = 1,
    last: int | None = None,
    asset: dg.AssetsDefinition = days,
) -> str:
    """Materialise this day of January, or the days from first to last; returns the run's id."""
    start, end = f"2024-01-{first:02}", f"2024-01-{last or first:02}"
    span = {ASSET_PARTITION_RANGE_START_TAG: start, ASSET_PARTITION_RANGE_END_TAG: end}
    result = dg.materialize(
        [asset],
        instance=instance,
        partition_key=None if last else start,
        tags={**tags, **span} if last else tags,
        run_config=SILENT,
        raise_on_error=False,
    )
    return result.run_id


def sweep(
    instance: dg.DagsterInstance,
    age: timedelta = RETENTION,
    cursor: str | None = None,
    most: int = 100,
    seconds: float = 60,
) -> Sweep:
    """Sweep as the sensor does when the newest run is slightly older than `age`."""
    now = datetime.now(UTC) + age + timedelta(seconds=1)
    return delete_superseded_runs(
        instance,
        now,
        schedules=["live"],
        sensors=["history"],
        cursor=cursor,
        most=most,
        seconds=seconds,
    )


def recorded(instance: dg.DagsterInstance, *keys: dg.AssetKey) -> dict[dg.AssetKey, object]:
    """What Dagster knows of these assets."""
    event_type = dg.DagsterEventType.ASSET_MATERIALIZATION
    facts: dict[dg.AssetKey, object] = {}
    for key in keys:
        newest = instance.get_latest_storage_id_by_partition(key, event_type)
        records = [
            instance.fetch_materializations(
                dg.AssetRecordsFilter(asset_key=key, asset_partitions=[partition]), limit=1
            ).records
            for partition in newest
        ]
        partitions = instance.get_materialized_partitions(key)
        facts[key] = (newest, records, partitions, instance.get_latest_materialization_event(key))
    return facts


def run_ids(instance: dg.DagsterInstance) -> list[str]:
    """Oldest first."""
    return [run.run_id for run in reversed(instance.get_runs())]


def size(instance: dg.DagsterInstance) -> int:
    """Bytes on disk, without the write-ahead logs, which SQLite empties itself."""
    files = (path for path in Path(instance.root_directory).rglob("*") if path.is_file())
    return sum(path.stat().st_size for path in files if not path.name.endswith("-wal"))


@pytest.fixture
def logged_instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance that keeps what steps print."""
    with dg.DagsterInstance.local_temp(
        str(tmp_path), overrides={"telemetry": {"enabled": False}}
    ) as instance:
        yield instance


def test_sweep_deletes_superseded_runs_only(
    instance: dg.DagsterInstance,
) -> None:
    runs = [refresh(instance, LIVE, day) for day in (1, 1, 2, 2, 2)]
    before, full = recorded(instance, days.key), size(instance)
    assert sweep(instance).deleted == [runs[0], runs[2], runs[3]]
    assert run_ids(instance) == [runs[1], runs[4]]
    assert recorded(instance, days.key) == before
    assert size(instance) < 0.7 * full
    assert sweep(instance).deleted == []


@pytest.mark.soak
def test_sweep_keeps_partitions_of_project_assets(
    lake: object, instance: dg.DagsterInstance
) -> None:
    with StandInExchange(rate=None) as exchange:
        settings = settings_for(exchange.url, "ETH-EUR:15m")
        job = build_definitions(settings).resolve_implicit_global_asset_job_def()
        keys = [
            dg.AssetKey(kind.asset_key(settings.series[0]))
            for kind in (RAW_CANDLES, CANDLE_HISTORY)
        ]
        for day in ("2024-01-31", "2024-01-31", "2024-02-01"):
            for key, tags, partition in zip(keys, (LIVE, HISTORY), (day, day[:7]), strict=True):
                job.execute_in_process(
                    instance=instance,
                    asset_selection=[key],
                    partition_key=partition,
                    tags=tags,
                    run_config=SILENT,
                )
    runs = run_ids(instance)
    before = recorded(instance, *keys)
    assert sweep(instance).deleted == runs[:2]
    assert recorded(instance, *keys) == before
    assert instance.get_materialized_partitions(keys[0]) == {"2024-01-31", "2024-02-01"}


def test_sweep_deletes_file_tags_events_and_output(
    logged_instance: dg.DagsterInstance,
) -> None:
    instance = logged_instance
    runs = [refresh(instance, LIVE | {"only": str(count)}) for count in range(2)]
    assert sweep(instance).deleted == runs[:1]
    home = Path(instance.root_directory)
    assert [path for path in home.rglob("*") if runs[0] in path.name] == []
    assert len([path for path in home.rglob("*") if runs[1] in path.name]) == 2
    assert instance.get_run_tags(["only"]) == [("only", {"1"})]
    planned = instance.get_asset_event_summary_records(
        dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
    )
    assert [record.run_id for record in planned] == runs[1:]


def test_sweep_deletes_older_check_results(
    instance: dg.DagsterInstance,
) -> None:
    runs = [refresh(instance, LIVE) for _ in range(3)]
    sweep(instance)
    history = instance.event_log_storage.get_asset_check_execution_history(CHECK, limit=9)
    assert {result.run_id for result in history} == {runs[2]}


def test_sweep_keeps_newest_check_result(instance: dg.DagsterInstance) -> None:
    first = refresh(instance, LIVE)
    refresh(instance, LIVE, asset=unchecked_days)
    assert sweep(instance).deleted == [first]
    history = instance.event_log_storage.get_asset_check_execution_history(CHECK, limit=9)
    assert {result.run_id for result in history} == {first}


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"dagster/schedule_name": "another"},
        {"dagster/sensor_name": "live"},
        LIVE | {"dagster/backfill": "abc"},
        LIVE | {"dagster/from_ui": "true"},
        HISTORY | MANUAL_RETRY,
    ],
)
def test_sweep_keeps_runs_of_other_launchers(
    instance: dg.DagsterInstance, tags: dict[str, str]
) -> None:
    run_id = refresh(instance, tags)
    refresh(instance, LIVE)
    assert sweep(instance).deleted == []
    assert run_id in run_ids(instance)


@pytest.mark.parametrize("tags", [LIVE, HISTORY, LIVE | RETRY])
def test_sweep_waits_for_retention(instance: dg.DagsterInstance, tags: dict[str, str]) -> None:
    run_id = refresh(instance, tags)
    refresh(instance, {})
    assert sweep(instance, RETENTION - timedelta(minutes=1)).deleted == []
    assert sweep(instance).deleted == [run_id]


@pytest.mark.soak
def test_sweep_waits_until_all_partitions_are_superseded(instance: dg.DagsterInstance) -> None:
    run_id = refresh(instance, LIVE, 1, 3)
    for newer in (refresh(instance, {}, 1, 2), refresh(instance, LIVE | {"fails": ""}, 3)):
        assert newer not in sweep(instance).deleted
        assert run_id in run_ids(instance)
    refresh(instance, {}, 3)
    assert run_id in sweep(instance).deleted


@pytest.mark.soak
def test_sweep_asset_without_partitions(
    instance: dg.DagsterInstance,
) -> None:
    runs = [
        dg.materialize([undivided], instance=instance, tags=LIVE, run_config=SILENT).run_id
        for _ in range(3)
    ]
    assert sorted(sweep(instance).deleted) == sorted(runs[:2])
    assert instance.get_latest_materialization_event(undivided.key)


def test_sweep_deletes_failed_runs_and_keeps_unfinished(
    instance: dg.DagsterInstance,
) -> None:
    failed = refresh(instance, LIVE | {"fails": ""})
    cancelled, running = start_run(instance, LIVE), start_run(instance, LIVE)
    run = instance.get_run_by_id(cancelled)
    assert run
    instance.report_run_canceled(run)
    newest = refresh(instance, LIVE)
    assert sweep(instance).deleted == [failed, cancelled]
    assert run_ids(instance) == [running, newest]


def test_sweep_leaves_run_group_readable(instance: dg.DagsterInstance) -> None:
    root = start_run(instance, {}, dg.DagsterRunStatus.FAILURE)
    retries = [
        instance.create_run_for_job(
            some_job,
            tags={
                **LIVE,
                "dagster/root_run_id": root,
                "dagster/parent_run_id": root,
                "dagster/retry_number": number,
            },
            root_run_id=root,
            parent_run_id=root,
            status=status,
        ).run_id
        for number, status in (
            ("1", dg.DagsterRunStatus.FAILURE),
            ("2", dg.DagsterRunStatus.STARTED),
        )
    ]
    refresh(instance, {})
    assert sweep(instance).deleted == retries[:1]
    group = instance.get_run_group(root)
    assert group
    assert [run.run_id for run in group[1]] == [root, retries[1]]


def test_sweep_repeats_interrupted_deletion(instance: dg.DagsterInstance) -> None:
    run_id = refresh(instance, LIVE)
    refresh(instance, LIVE)
    home = Path(instance.root_directory)
    with closing(sqlite3.connect(next(home.rglob("index.db")))) as index:
        index.execute(
            "CREATE TRIGGER broken BEFORE DELETE ON event_logs"
            " BEGIN SELECT RAISE(ABORT, 'disk I/O error'); END"
        )
        with pytest.raises(IntegrityError, match="disk I/O error"):
            sweep(instance)
        index.execute("DROP TRIGGER broken")
    assert sweep(instance).deleted == [run_id]
    assert list(home.rglob(f"{run_id}*")) == []


@pytest.mark.soak
def test_sweep_run_without_file(
    instance: dg.DagsterInstance,
) -> None:
    runs = [refresh(instance, LIVE, day) for day in (1, 1, 2, 3)]
    before = recorded(instance, days.key)
    for run_id in runs:
        next(Path(instance.root_directory).rglob(f"{run_id}.db")).unlink()
    with dg.DagsterInstance.from_config(instance.root_directory) as restarted:
        assert sweep(restarted).deleted == runs[:1]
        assert recorded(restarted, days.key) == before


@pytest.mark.soak
def test_sweep_reuses_no_log_id(instance: dg.DagsterInstance) -> None:
    refresh(instance, LIVE)
    refresh(instance, LIVE | {"fails": ""})
    newest = instance.event_log_storage.get_maximum_record_id()
    assert newest
    assert sweep(instance).deleted == []
    refresh(instance, {})
    assert max(recorded_ids(instance)) > newest


def recorded_ids(instance: dg.DagsterInstance) -> list[int]:
    event_type = dg.DagsterEventType.ASSET_MATERIALIZATION
    return list(instance.get_latest_storage_id_by_partition(days.key, event_type).values())


@pytest.mark.soak
def test_sweep_continues_at_cursor(
    instance: dg.DagsterInstance,
) -> None:
    runs = [refresh(instance, LIVE, day) for day in (1, 2, 3, 3, 3, 4)]
    assert sweep(instance, most=2) == Sweep([], runs[1])
    assert sweep(instance, cursor=runs[1], most=2) == Sweep(runs[2:4], runs[1])
    assert sweep(instance, cursor=runs[1], most=2) == Sweep([], runs[5])
    refresh(instance, {}, 1)
    assert sweep(instance, cursor=runs[5], most=2) == Sweep([], None)
    assert sweep(instance, most=2) == Sweep(runs[:1], runs[1])


def test_sweep_stops_after_seconds(instance: dg.DagsterInstance) -> None:
    runs = [refresh(instance, LIVE, day) for day in (1, 2, 2)]
    assert sweep(instance, seconds=0) == Sweep([], runs[0])
    assert sweep(instance, cursor=runs[0], seconds=0) == Sweep(runs[1:2], runs[0])


def test_sweep_begins_again_when_cursor_run_is_deleted(instance: dg.DagsterInstance) -> None:
    runs = [refresh(instance, LIVE) for _ in range(2)]
    assert sweep(instance, cursor="gone") == Sweep([], None)
    assert sweep(instance) == Sweep(runs[:1], None)
