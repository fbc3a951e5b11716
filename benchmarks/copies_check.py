"""Whether copies stored with SQL are what Dagster would have stored: its rows, in as many bytes."""

import shutil
import sqlite3
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.dagster_run import DagsterRun
from dagster._serdes import deserialize_value, serialize_value

from benchmarks.copies import Template, copy_logs

# The real time, which SQLite fills in, and a run's tags, whose order a run that was read has lost.
_OF_ITS_OWN = {
    ("asset_keys", "create_timestamp"),
    ("asset_check_executions", "create_timestamp"),
    ("run_tags", "id"),
}
_ORDER = {"run_tags": "run_id, key"}


def check(
    instance: dg.DagsterInstance,
    templates: Sequence[tuple[Template, str]],
    starts: Sequence[datetime],
) -> None:
    """Store a copy of each template, for its partition, at each start, both ways, and compare."""
    home = Path(instance.root_directory)
    homes = [home.with_suffix(suffix) for suffix in (".by-sql", ".by-dagster")]
    for copy, store in zip(homes, (Template.store, _store_by_dagster), strict=True):
        shutil.copytree(home, copy)
        began = time.perf_counter()
        with dg.DagsterInstance.from_config(str(copy)) as other:
            for start in starts:
                for template, partition in templates:
                    run_id = str(uuid.uuid5(uuid.UUID(template.run_id), str(start)))
                    store(template, other, run_id, partition, int(start.timestamp()))
        seconds = time.perf_counter() - began
        print(f"{len(starts) * len(templates)} runs{copy.suffix}: {seconds:.1f} s", flush=True)
    files, rows, size = 0, 0, 0
    for ours, dagsters in zip(*map(_files, homes), strict=True):
        assert ours.relative_to(homes[0]) == dagsters.relative_to(homes[1])
        if ours.suffix == ".db":
            for one, other_one in zip(_rows(ours), _rows(dagsters), strict=True):
                assert one == other_one, (ours, one, other_one)
                rows += 1
        assert ours.stat().st_size == dagsters.stat().st_size, ours
        files, size = files + 1, size + ours.stat().st_size
    print(f"the same {rows} rows, in {files} files of the same {size:,} bytes", flush=True)
    for copy in homes:
        shutil.rmtree(copy)


def _store_by_dagster(
    template: Template, instance: dg.DagsterInstance, run_id: str, partition: str, start: int
) -> None:
    """Through the instance, event by event. The events are the original's as it reads them."""
    shift = start - int(template.began)
    record = instance.get_run_record_by_id(template.run_id)
    assert record
    run = record.dagster_run.with_status(dg.DagsterRunStatus.NOT_STARTED)
    records = instance.get_records_for_run(template.run_id).records
    originals: list[DagsterRun | EventLogEntry] = [run, *(one.event_log_entry for one in records)]
    run_text, *texts = (
        serialize_value(one).replace(template.run_id, run_id).replace(template.partition, partition)
        for one in originals
    )
    instance.run_storage.add_historical_run(
        deserialize_value(run_text, DagsterRun), record.create_timestamp + timedelta(seconds=shift)
    )
    for text in texts:
        event = deserialize_value(text, EventLogEntry)
        instance.handle_new_event(event._replace(timestamp=event.timestamp + shift))
    copy_logs(instance, template.run_id, run_id)


def _files(home: Path) -> list[Path]:
    return sorted(path for path in home.rglob("*") if path.is_file())


def _rows(database: Path) -> Iterator[tuple[object, ...]]:
    with closing(sqlite3.connect(database)) as connection:
        connection.row_factory = sqlite3.Row
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")
        for (table,) in names.fetchall():
            order = _ORDER.get(table, "rowid")
            for row in connection.execute(f"SELECT * FROM {table} ORDER BY {order}"):
                kept = (
                    value for name, value in dict(row).items() if (table, name) not in _OF_ITS_OWN
                )
                yield table, *kept
