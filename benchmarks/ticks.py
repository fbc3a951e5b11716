"""The ticks of the schedule and the sensors, as the daemon stores and purges them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import TickData, TickStatus
from dagster._core.storage.schedules.schema import JobTickTable
from dagster._core.storage.schedules.sql_schedule_storage import SqlScheduleStorage
from dagster._serdes import serialize_value

# The sensors of history and of runs left over, every 15 and 30 seconds, together.
SENSOR_INTERVAL = timedelta(seconds=10)
SCHEDULE, SENSOR = "live", "history"
NAMES = {InstigatorType.SCHEDULE: SCHEDULE, InstigatorType.SENSOR: SENSOR}


def times(day: datetime, step: timedelta) -> list[datetime]:
    return [day + step * index for index in range(timedelta(days=1) // step)]


def _tick(kind: InstigatorType, start: datetime) -> TickData:
    return TickData(
        instigator_origin_id=NAMES[kind],
        instigator_name=NAMES[kind],
        instigator_type=kind,
        status=TickStatus.SKIPPED,
        timestamp=start.timestamp(),
        end_timestamp=start.timestamp() + 0.5,
        selector_id=NAMES[kind],
        cursor='{"ETH-EUR/15m/raw_candles": 123456}',
        skip_reason="No raw partition has landed since the last tick.",
    )


def launch(
    kind: InstigatorType, start: datetime, series: str, run_id: str, tags: dict[str, str]
) -> TickData:
    """The tick that launched a run."""
    request = dg.RunRequest(run_key=f"{series} {run_id}", tags=tags)
    return _tick(kind, start)._replace(
        status=TickStatus.SUCCESS,
        run_ids=[run_id],
        run_keys=[f"{series} {run_id}"],
        run_requests=[request],
        reserved_run_ids=[run_id],
    )


def store_ticks(instance: dg.DagsterInstance, day: datetime, launches: Sequence[TickData]) -> None:
    """Store a day's ticks in one go, as `create_tick` does one by one."""
    storage = instance.schedule_storage
    assert isinstance(storage, SqlScheduleStorage)
    skipped = _tick(InstigatorType.SENSOR, day)
    skip_row, text = _row(skipped), serialize_value(skipped)
    rows = [*map(_row, launches)]
    for start in times(day, SENSOR_INTERVAL):
        body = text.replace(repr(day.timestamp()), repr(start.timestamp()))
        body = body.replace(repr(day.timestamp() + 0.5), repr(start.timestamp() + 0.5))
        rows.append(skip_row | {"timestamp": start.replace(tzinfo=None), "tick_body": body})
    with storage.connect() as connection:
        connection.execute(JobTickTable.insert(), rows)


def _row(tick: TickData) -> dict[str, object]:
    return {
        "job_origin_id": tick.instigator_origin_id,
        "selector_id": tick.selector_id,
        "status": tick.status.value,
        "type": tick.instigator_type.value,
        "timestamp": datetime.fromtimestamp(tick.timestamp, UTC).replace(tzinfo=None),
        "tick_body": serialize_value(tick),
    }


def purge_ticks(instance: dg.DagsterInstance, now: datetime) -> None:
    """As the daemon does after every tick, by the retention in dagster.yaml."""
    for kind, name in NAMES.items():
        for status, days in instance.get_tick_retention_settings(kind).items():
            if days > 0:
                before = (now - timedelta(days=days)).timestamp()
                instance.purge_ticks(name, name, before, [status])
