"""A back-fill whose runs are on another host, which dies, and whose code server is replaced."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import httpx
import pyarrow.compute as pc
import pytest
import tenacity

from coinbase_assets import Lake
from coinbase_assets.candles.calendar import DAY, day_start
from coinbase_assets.candles.datasets import RAW_CANDLES
from coinbase_assets.candles.series import Series
from coinbase_assets.dagster_instance.run_statuses import UNFINISHED
from coinbase_assets_tests.conftest import free_port
from coinbase_assets_tests.processes import (
    Start,
    finish,
    instance_at,
    process_environment,
    processes,
)
from coinbase_assets_tests.stand_in.exchange import StandInExchange
from coinbase_assets_tests.stand_in.hosts import (
    OTHER,
    THIS,
    OtherHost,
    needs_namespaces,
    other_host,
    relayed,
)
from coinbase_assets_tests.stand_in.servers import SERVERS, Server, running_server

SERIES = [Series.parse("BTC-USD:15m"), Series.parse("ETH-EUR:15m")]
FIRST = date(2023, 1, 1)
DAYS = [str(FIRST + timedelta(day)) for day in range(400)]
END = day_start(DAYS[-1]) + DAY
BIN = Path(sys.executable).parent
DAEMON = "coinbase_assets.dagster_instance.daemon"
SERVER = (
    *(str(BIN / "dagster"), "api", "grpc"),
    *("--module-name", "coinbase_assets.definitions", "--host", "0.0.0.0", "--port", "4000"),
)
# How long Docker waits before it kills a container.
GRACE = 10.0
SECONDS = 900.0
LAUNCH = """mutation ($params: LaunchBackfillParams!) {
    launchPartitionBackfill(backfillParams: $params) {
        __typename ... on LaunchBackfillSuccess { backfillId } } }"""
WORKSPACE = f"""load_from:
  - grpc_server: {{host: {OTHER}, port: 4000, location_name: coinbase_assets}}
"""


@pytest.fixture(scope="module", params=SERVERS[:1])
def postgres(request: pytest.FixtureRequest) -> Iterator[Server]:
    with running_server(request.param) as server:
        yield server


@dataclass
class Deployment:
    """The daemon and the web server on this host, the code location and its runs on the other."""

    host: OtherHost
    start: Start
    folder: Path
    environment: Mapping[str, str]
    exchange: StandInExchange
    services: list[subprocess.Popen[bytes]] = field(default_factory=list)
    web_port: int = field(default_factory=free_port)

    @property
    def home(self) -> Path:
        """The folder of the Dagster instance: each host has another folder there."""
        return self.folder / "home"

    def prepare(self) -> None:
        self._init(self.home)

    def start_host(self, name: str) -> None:
        """Start a host with a new folder, and the code server on it."""
        self._init(self.folder / name)
        self.host.plug()
        self.start_code_server(name)

    def start_code_server(self, name: str) -> None:
        command = self.host.command(*SERVER, name=name, volume=self.folder / name, at=self.home)
        self.server = self._serve(command)

    def replace_code_server(self, name: str) -> None:
        """Stop and start it as containers are, which keep their volume."""
        self.server.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.server.wait(GRACE)
        self.host.kill_all()
        self.start_code_server(name)

    def start_services(self) -> None:
        wait_until(self._has_code_server)
        workspace = self.home / "workspace.yaml"
        workspace.write_text(WORKSPACE)
        options = ("--workspace", str(workspace))
        self._serve(
            [sys.executable, "-m", "coinbase_assets.dagster_instance.daemon", "run", *options]
        )
        self._serve([str(BIN / "dagster-webserver"), *options, "--port", str(self.web_port)])

    def _serve(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a service. What it prints goes to a file: nobody would empty a pipe."""
        with (self.folder / "services.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                env=self._environment(self.home),
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.services.append(process)
        return process

    def end(self) -> None:
        for process in self.services:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _has_code_server(self) -> bool:
        arguments = ("api", "grpc-health-check", "--host", OTHER, "--port", "4000")
        environment = self._environment(self.home)
        return finish(self.start("dagster", *arguments, environment=environment)).returncode == 0

    def _init(self, folder: Path) -> None:
        arguments = ("init", "--postgres", str(folder))
        made = self.start("coinbase-assets", *arguments, environment=self._environment(folder))
        assert finish(made).returncode == 0

    def _environment(self, home: Path) -> dict[str, str]:
        return process_environment(home, **self.environment)

    def launch(self) -> str:
        """Return the id of the back-fill, launched as the web UI does."""
        params = {
            "assetSelection": [{"path": list(RAW_CANDLES.asset_key(each))} for each in SERIES],
            "partitionNames": DAYS,
        }
        question = {"query": LAUNCH, "variables": {"params": params}}
        url = f"http://127.0.0.1:{self.web_port}/graphql"
        return _launched(url, question)

    def wait_for_requests(self, more: int) -> None:
        """Wait until the back-fill has asked the exchange for so many more answers."""
        enough = len(self.exchange.requests) + more
        wait_until(lambda: len(self.exchange.requests) >= enough)


@tenacity.retry(
    retry=tenacity.retry_if_exception_type((httpx.TransportError, KeyError)),
    wait=tenacity.wait_fixed(1),
    stop=tenacity.stop_after_delay(100),
    reraise=True,
)
def _launched(url: str, question: object) -> str:
    answer = httpx.post(url, json=question, timeout=60, trust_env=False).json()
    return answer["data"]["launchPartitionBackfill"]["backfillId"]


def wait_until(what: Callable[[], object]) -> None:
    tenacity.Retrying(
        retry=tenacity.retry_if_result(lambda is_so: not is_so),
        wait=tenacity.wait_fixed(0.5),
        stop=tenacity.stop_after_delay(SECONDS),
    )(what)


@pytest.fixture
def deployment(postgres: Server, azurite: str, tmp_path: Path) -> Iterator[Deployment]:
    database_port = free_port()
    storage_port = int(azurite.partition("127.0.0.1:")[2].partition("/")[0])
    with ExitStack() as opened:
        exchange = opened.enter_context(StandInExchange(rate=4.0, burst=15))
        host = opened.enter_context(other_host())
        opened.enter_context(relayed(lambda: _unix_socket(postgres.url), database_port))
        for port in (storage_port, exchange_port(exchange)):
            opened.enter_context(relayed(_connection(port), port))
        environment = {
            "DAGSTER_POSTGRES_URL": f"postgresql://me@{THIS}:{database_port}/postgres",
            "DAGSTER_BACKFILL_RETRY_DEFINITION_CHANGED_ERROR": "1",
            "COINBASE_API_URL": exchange.url.replace("127.0.0.1", THIS),
            "COINBASE_SERIES": ",".join(map(str, SERIES)),
            "COINBASE_START": str(FIRST),
            "COINBASE_REQUESTS_PER_SECOND": "4",
            "AZURE_STORAGE_CONNECTION_STRING": azurite.replace("127.0.0.1", THIS),
            "COINBASE_CONTAINER": "two-hosts",
        }
        start = opened.enter_context(processes(tmp_path))
        deployment = Deployment(host, start, tmp_path, environment, exchange)
        opened.callback(deployment.end)
        deployment.prepare()
        yield deployment


def exchange_port(exchange: StandInExchange) -> int:
    return int(exchange.url.rpartition(":")[2])


def _connection(port: int) -> Callable[[], socket.socket]:
    return lambda: socket.create_connection(("127.0.0.1", port))


def _unix_socket(url: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(f"{url.partition('host=')[2]}/.s.PGSQL.5432")
    return connection


@needs_namespaces
@pytest.mark.soak
def test_backfill_survives_dead_hosts_and_new_code_servers(
    deployment: Deployment, azurite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", deployment.environment["DAGSTER_POSTGRES_URL"])
    deployment.start_host("first")
    deployment.start_services()
    deployment.launch()
    began, ends = time.time(), list[float]()
    for name, next_name in (("first", "second"), ("second", "third")):
        deployment.wait_for_requests(20)
        ends.append(time.time())
        deployment.replace_code_server(name)
        deployment.wait_for_requests(20)
        ends.append(time.time())
        deployment.host.die()
        deployment.start_host(next_name)
    with instance_at(str(deployment.home)) as instance:
        wait_until(lambda: all(made(instance, each) >= {*DAYS} for each in SERIES))
        print(f"400 days of two series: {time.time() - began:.0f} s")
        wait_until(lambda: not backfill_runs(instance, UNFINISHED))
        # A run that a stopping code server refused to start is retried after five seconds.
        failed = [
            record
            for record in backfill_runs(instance, [dg.DagsterRunStatus.FAILURE])
            if record.start_time
        ]
        print(*times_lost(instance, failed, ends), sep="\n")
        messages = "".join(str(instance.all_logs(each.dagster_run.run_id)) for each in failed)
        assert "Nothing was heard" in messages
        assert "was killed" in messages
        assert all(retries(instance, record) for record in failed)
    for series in SERIES:
        assert stored_candles(azurite, series) == traded_candles(deployment.exchange, series)


def made(instance: dg.DagsterInstance, series: Series) -> set[str]:
    return instance.get_materialized_partitions(dg.AssetKey(RAW_CANDLES.asset_key(series)))


def backfill_runs(
    instance: dg.DagsterInstance, statuses: Sequence[dg.DagsterRunStatus]
) -> Sequence[dg.RunRecord]:
    records = instance.get_run_records(dg.RunsFilter(statuses=statuses))
    return [record for record in records if "dagster/backfill" in record.dagster_run.tags]


def retries(instance: dg.DagsterInstance, record: dg.RunRecord) -> Sequence[dg.RunRecord]:
    tags = {"dagster/parent_run_id": record.dagster_run.run_id}
    return instance.get_run_records(dg.RunsFilter(tags=tags))


def times_lost(
    instance: dg.DagsterInstance, failed: Sequence[dg.RunRecord], ends: Sequence[float]
) -> list[str]:
    """Return when each failed run ended and began again, in seconds after its process ended."""
    lost = []
    for record in failed:
        failure = record.end_time or 0
        end = max(each for each in ends if each < failure)
        again = [each.start_time - end for each in retries(instance, record) if each.start_time]
        lost.append(f"failed after {failure - end:.0f} s, began again after {again} s")
    return lost


def stored_candles(account: str, series: Series) -> int:
    ours = (pc.field("product") == series.product) & (pc.field("time") < END)
    with Lake("two-hosts", connection_string=account) as lake:
        return lake.dataset("raw_candles").count_rows(filter=ours)


def traded_candles(exchange: StandInExchange, series: Series) -> int:
    start, last = day_start(DAYS[0]), END - series.granularity.delta
    market, seconds = exchange.markets[series.product], series.granularity.seconds
    return len(market.candles(seconds, int(start.timestamp()), int(last.timestamp()), time.time()))
