"""All services at work: `coinbase-assets dev`, the stand-in exchange, Azurite."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from coinbase_assets.candles.datasets import CANDLE_HISTORY, RAW_CANDLES
from coinbase_assets.candles.series import Series
from coinbase_assets.settings import Settings
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets.table_metadata import with_fields
from coinbase_assets_tests.conftest import free_port
from coinbase_assets_tests.processes import (
    Start,
    finish,
    instance_at,
    process_environment,
    processes,
)
from coinbase_assets_tests.running import collect_raw, land, settings_for
from coinbase_assets_tests.stand_in.exchange import StandInExchange

ETH, BTC, USD = map(Series.parse, ("ETH-EUR:1m", "BTC-EUR:1d", "BTC-USD:1d"))
# A run whose launch died with the daemon is failed after up to 150 seconds, and only then run
# again: start_timeout_seconds and poll_interval_seconds in dagster_instance/dagster.yaml.
PATIENCE = 300.0


@dataclass(frozen=True)
class Dev:
    """A running `coinbase-assets dev`, with its exchange, instance and lake."""

    process: subprocess.Popen[str]
    port: int
    exchange: StandInExchange
    instance: dg.DagsterInstance
    settings: Settings
    lake: ParquetStore
    errors: list[str]

    def wait_for(self, what: Callable[[], object]) -> None:
        give_up = time.monotonic() + PATIENCE
        while not what():
            assert self.process.poll() is None, finish(self.process)
            assert time.monotonic() < give_up, [
                (run.status, run.tags) for run in self.instance.get_runs()
            ]
            time.sleep(0.2)

    def months(self, series: Series) -> set[str]:
        return self.instance.get_materialized_partitions(
            dg.AssetKey(CANDLE_HISTORY.asset_key(series))
        )

    def history_rows(self, series: Series) -> int:
        blobs = self.lake.list(CANDLE_HISTORY.folder(series)).values()
        return sum(int(blob.fields["rows"]) for blob in blobs)

    def history_runs(self, *statuses: dg.DagsterRunStatus) -> list[dg.DagsterRun]:
        tags = {"dagster/sensor_name": "candle_history_sensor"}
        return list(self.instance.get_runs(dg.RunsFilter(tags=tags, statuses=statuses)))

    def cursor(self) -> str:
        """Return the cursor of the history sensor."""
        states = self.instance.all_instigator_state()
        cursors = [
            getattr(state.instigator_data, "cursor", None)
            for state in states
            if state.name == "candle_history_sensor"
        ]
        return str(cursors)

    def process_of(self, run_id: str) -> int:
        """Return the id of the run's process; 0 before it executes steps."""
        found = re.search(
            r"Executing steps in process \(pid: (\d+)\)", str(self.instance.all_logs(run_id))
        )
        return int(found[1]) if found else 0

    def kill(self, part: str) -> None:
        """Kill the service whose command line has this part, with SIGKILL."""
        (pid,) = [pid for pid, command in commands(self.process.pid) if part in command]
        os.kill(pid, signal.SIGKILL)


def commands(parent: int) -> list[tuple[int, str]]:
    """Return the ids and command lines of a process's children."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            _state, its_parent = (process / "stat").read_text().rpartition(")")[2].split()[:2]
            if int(its_parent) == parent:
                command = (process / "cmdline").read_text().replace("\0", " ")
                found.append((int(process.name), command))
    return found


def home_users(home: str) -> list[str]:
    """Return the command lines of the processes that have this DAGSTER_HOME."""
    setting = f"DAGSTER_HOME={home}\0".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if setting in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text())
    return found


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with processes(tmp_path) as start:
        yield start


@pytest.fixture
def environment(lake: ParquetStore, tmp_path: Path) -> dict[str, str]:
    home = tmp_path / "home"
    home.mkdir()
    names = ("AZURE_STORAGE_CONNECTION_STRING", "COINBASE_CONTAINER")
    return process_environment(home, **{name: os.environ[name] for name in names})


@contextmanager
def dev(start: Start, environment: dict[str, str], lake: ParquetStore) -> Iterator[Dev]:
    series, port = [str(each) for each in (ETH, BTC, USD)], free_port()
    with StandInExchange(rate=None) as exchange:
        changes = {
            "COINBASE_API_URL": exchange.url,
            "COINBASE_SERIES": ",".join(series),
            "COINBASE_START": "2024-01-01",
        }
        arguments = ("dev", "--port", str(port))
        process = start("coinbase-assets", *arguments, environment={**environment, **changes})
        assert process.stdout
        assert "web UI: http://127.0.0.1:" in process.stdout.readline()
        with instance_at(environment["DAGSTER_HOME"]) as instance:
            settings = settings_for(exchange.url, *series)
            errors: list[str] = []
            yield Dev(process, port, exchange, instance, settings, lake, errors)
        process.send_signal(signal.SIGINT)
        done = finish(process)
        assert done.returncode == 0
        errors.append(done.stderr)


@pytest.mark.soak
@pytest.mark.long
def test_dev_survives_killed_services_and_damaged_day(
    start: Start, environment: dict[str, str], lake: ParquetStore
) -> None:
    with dev(start, environment, lake) as at_work:
        _kill_a_live_refresh_and_the_code_server(at_work)
        _kill_the_daemon_when_days_have_landed(at_work)
        _damage_a_day_until_a_run_has_failed(at_work)
        _refuse_a_second(at_work, start, environment)
        this_month = f"{datetime.now(UTC):%Y-%m}"
        at_work.wait_for(lambda: this_month in at_work.months(ETH))
        (blob,) = lake.list(CANDLE_HISTORY.folder(ETH)).values()
        last = datetime.fromisoformat(blob.fields["last_candle"])
        assert datetime.now(UTC) - last < timedelta(minutes=10)
    assert home_users(environment["DAGSTER_HOME"]) == []
    assert re.search(r"^Run \S+: Storage: .*2024-02-10", at_work.errors[0], re.MULTILINE)


def _kill_a_live_refresh_and_the_code_server(at_work: Dev) -> None:
    """The next refresh must not wait for the orphaned run."""
    at_work.exchange.latency = 600
    started = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])
    at_work.wait_for(lambda: at_work.instance.get_runs(started))
    (run,) = at_work.instance.get_runs(started)
    at_work.wait_for(lambda: at_work.process_of(run.run_id))
    at_work.kill("dagster api grpc")
    os.kill(at_work.process_of(run.run_id), signal.SIGKILL)
    at_work.exchange.latency = 0


def _kill_the_daemon_when_days_have_landed(at_work: Dev) -> None:
    """Collect 250 days of two series; kill the daemon as soon as the sensor's cursor is written."""
    before = at_work.cursor()
    for series in (BTC, USD):
        settings = at_work.settings.model_copy(update={"series": (series,)})
        collect_raw(settings, at_work.instance, "2024-01-01", "2024-09-06")
    at_work.wait_for(lambda: at_work.cursor() != before)
    at_work.kill("dagster_instance.daemon")
    months = {f"2024-{month:02}" for month in range(1, 10)}
    for series in (BTC, USD):
        at_work.wait_for(lambda: at_work.history_rows(series) == 250)  # noqa: B023
        at_work.wait_for(lambda: months <= at_work.months(series))  # noqa: B023
        blobs = at_work.lake.list(CANDLE_HISTORY.folder(series)).values()
        assert {blob.fields["days_missing"] for blob in blobs} == {"0", "24"}
    assert len(at_work.history_runs()) <= 3 * len(months)


def _damage_a_day_until_a_run_has_failed(at_work: Dev) -> None:
    """The failed run must be retried, and the history must have the day that was damaged."""
    path = RAW_CANDLES.path(BTC).format(partition="2024-02-10")
    table, blob = at_work.lake.get(path), at_work.lake.find([path])[path]
    newer = with_fields(table.select(["time"]), {"version": str(blob.version + 1)})
    at_work.lake.put(path, newer, blob)
    land(at_work.instance, BTC, "2024-02-10")
    at_work.wait_for(lambda: at_work.history_runs(dg.DagsterRunStatus.FAILURE))
    at_work.lake.put(path, table, at_work.lake.find([path])[path])
    failed = at_work.history_runs(dg.DagsterRunStatus.FAILURE)
    at_work.wait_for(
        lambda: any(
            run.root_run_id in {attempt.run_id for attempt in failed}
            for run in at_work.history_runs(dg.DagsterRunStatus.SUCCESS)
        )
    )


def _refuse_a_second(at_work: Dev, start: Start, environment: dict[str, str]) -> None:
    """A second `dev` must be refused, on the same instance and on the same port."""
    second = finish(start("coinbase-assets", "dev", environment=environment))
    assert second.returncode == 1
    assert f"is in use by another `make dev` (processes {at_work.process.pid} " in second.stderr
    other = Path(environment["DAGSTER_HOME"]).with_name("other")
    other.mkdir()
    elsewhere = {**environment, "DAGSTER_HOME": str(other)}
    arguments = ("dev", "--port", str(at_work.port))
    third = finish(start("coinbase-assets", *arguments, environment=elsewhere))
    assert third.returncode == 1
    assert f"port {at_work.port} on 127.0.0.1 is taken" in third.stderr
    for refused in (second, third):
        assert len(refused.stderr.splitlines()) == 1
    assert len([1 for _, command in commands(at_work.process.pid) if ".daemon" in command]) == 1
    assert home_users(str(other)) == []
