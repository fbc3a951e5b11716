"""A year of `make dev`: a 15m series refreshed every 15 minutes, and the disk its instance takes.

A live run and a history run are made once, against the stand-in exchange and Azurite. Copies of
them are stored over and over by `copies`, with ids, partitions and times of their own, beside the
ticks that launch such runs. What the sensor calls every quarter of an hour, to delete superseded
runs, is called every six simulated hours, so that more lies around than in reality. Left out are
other series, runs that fail, and what the daemon and the web UI store for themselves.
Times are UTC.
"""

import argparse
import os
import shutil
import tempfile
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType

from benchmarks.copies import Template, record_template, share_engines
from benchmarks.copies_check import check
from benchmarks.ticks import SCHEDULE, SENSOR, launch, purge_ticks, store_ticks, times
from coinbase_assets.candles.datasets import CANDLE_HISTORY, RAW_CANDLES
from coinbase_assets.candles.series import Series
from coinbase_assets.dagster_instance import instance_config
from coinbase_assets.dagster_instance.replaced_runs import delete_superseded_runs
from coinbase_assets.definitions import build_definitions
from coinbase_assets.storage.azurite import running_azurite
from coinbase_assets_tests.conftest import free_port
from coinbase_assets_tests.running import collect_raw, settings_for
from coinbase_assets_tests.stand_in.exchange import StandInExchange

SERIES = Series.parse("ETH-EUR:15m")
RAW, HISTORY = (dg.AssetKey(kind.asset_key(SERIES)) for kind in (RAW_CANDLES, CANDLE_HISTORY))
DAY, MONTH = "2024-01-31", "2024-01"
REFRESH = timedelta(minutes=15)
SWEEP_HOURS = 6
# What Dagster and its daemon tag such runs with.
COMMON_TAGS = {
    ".dagster/grpc_info": '{"host": "localhost", "socket": "/tmp/tmp01234567"}',
    ".dagster/repository": "__repository__@coinbase_assets",
    "dagster/code_location": "coinbase_assets",
    "dagster/tick": "123456",
}
LIVE_TAGS = {"dagster/schedule_name": SCHEDULE, ".dagster/scheduled_execution_time": DAY}
HISTORY_TAGS = {"dagster/sensor_name": SENSOR, "dagster/run_key": f"{SERIES} {DAY} 123456"}
MEMORY = Path("/dev/shm")


def make_templates(instance: dg.DagsterInstance, folder: Path) -> tuple[Template, Template]:
    """Collect a month, refresh its last day, and join it, for real: a live and a history run."""
    azurite = running_azurite(folder / "azurite", free_port())
    with StandInExchange(rate=None) as exchange, azurite as connection_string:
        os.environ["AZURE_STORAGE_CONNECTION_STRING"] = connection_string
        settings = settings_for(exchange.url, str(SERIES))
        collect_raw(settings, instance, f"{MONTH}-01", DAY)
        job = build_definitions(settings).resolve_implicit_global_asset_job_def()

        def run(key: dg.AssetKey, partition: str, tags: dict[str, str]) -> Template:
            def execute() -> dg.ExecuteInProcessResult:
                return job.execute_in_process(
                    instance=instance,
                    asset_selection=[key],
                    partition_key=partition,
                    tags=tags | COMMON_TAGS,
                )

            execute()
            return record_template(instance, partition, execute)

        return run(RAW, DAY, LIVE_TAGS), run(HISTORY, MONTH, HISTORY_TAGS)


def simulate(
    instance: dg.DagsterInstance, live: Template, history: Template, first: datetime, days: int
) -> None:
    """Print a table of the runs, and of what is on disk, after so many days from the `first`."""
    cursor, began, longest = None, time.perf_counter(), 0.0
    print("days   runs made   runs kept   MB on disk   longest clean-up (s)   real time (s)")
    for count in range(1, days + 1):
        day = first + timedelta(days=count - 1)
        launches = []
        for start in times(day, REFRESH):
            for kind, template, partition in (
                (InstigatorType.SCHEDULE, live, f"{start:%Y-%m-%d}"),
                (InstigatorType.SENSOR, history, f"{start:%Y-%m}"),
            ):
                run_id = str(uuid.uuid4())
                template.store(instance, run_id, partition, int(start.timestamp()))
                launches.append(launch(kind, start, str(SERIES), run_id, COMMON_TAGS))
            if start.hour % SWEEP_HOURS == 0 and start.minute == 0:
                call = time.perf_counter()
                _, cursor = delete_superseded_runs(
                    instance, start, schedules=[SCHEDULE], sensors=[SENSOR], cursor=cursor
                )
                longest = max(longest, time.perf_counter() - call)
        store_ticks(instance, day, launches)
        purge_ticks(instance, day)
        if count in (1, days) or count % 10 == 0:
            print(
                f"{count:4}{2 * count * len(times(day, REFRESH)):12}{instance.get_runs_count():12}"
                f"{_megabytes(Path(instance.root_directory)):13.1f}"
                f"{longest:23.2f}{time.perf_counter() - began:16.0f}",
                flush=True,
            )


def print_materialized(instance: dg.DagsterInstance, first: datetime, days: int) -> None:
    for key, template in ((RAW, "%Y-%m-%d"), (HISTORY, "%Y-%m")):
        made = {(first + timedelta(days=index)).strftime(template) for index in range(days)}
        there = made & set(instance.get_materialized_partitions(key))
        print(f"{key.to_user_string()}: {len(there)} of {len(made)} partitions materialised")


def _megabytes(folder: Path) -> float:
    """What the folder's files take on disk."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file()) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--folder", type=Path, default=MEMORY if MEMORY.exists() else None)
    parser.add_argument("--check", action="store_true", help="hold a day's copies against Dagster")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        share_engines()
        home = folder / "dagster"
        home.mkdir()
        shutil.copy(instance_config.template(), home)
        os.environ["DAGSTER_HOME"] = str(home)
        with dg.DagsterInstance.from_config(str(home)) as instance:
            live, history = make_templates(instance, folder)
            today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
            first = today + timedelta(days=1)
            if arguments.check:
                pairs = [(live, f"{first:%Y-%m-%d}"), (history, f"{first:%Y-%m}")]
                check(instance, pairs, times(first, REFRESH))
            simulate(instance, live, history, first, arguments.days)
            print_materialized(instance, first, arguments.days)


if __name__ == "__main__":
    main()
