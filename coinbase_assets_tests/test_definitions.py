"""The code location: its definitions, and that Dagster's commands and web server load it."""

import importlib
import os
import shutil
import subprocess
import sys
import tomllib
import uuid
import warnings
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import dagster as dg
import httpx
import pyarrow as pa
import pytest
import tenacity
import yaml
from azure.storage.blob import BlobServiceClient

from coinbase_assets.assets.checks import CANDLE_CHECKS
from coinbase_assets.candles.datasets import RAW_CANDLES
from coinbase_assets.candles.series import Granularity, Series
from coinbase_assets.candles.table import SCHEMA
from coinbase_assets.completeness.halts import HALT_SCHEMA
from coinbase_assets.completeness.ledger import COVERAGE_SCHEMA
from coinbase_assets.dagster_instance.executor import LockedInProcessExecutor
from coinbase_assets.definitions import build_definitions
from coinbase_assets.settings import Settings, load_settings
from coinbase_assets.storage.azure_blobs import AzureBlobs
from coinbase_assets.storage.io_manager import AzureParquetIOManager
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.conftest import free_port
from coinbase_assets_tests.end_to_end.processes import (
    PROJECT,
    Process,
    Start,
    finish,
    process_environment,
    processes,
    quiet_instance,
)
from coinbase_assets_tests.stand_in.exchange import StandInExchange

MODULE = "coinbase_assets.definitions"
RAW = dg.AssetKey(["ETH-EUR", "15m", "raw_candles"])
HISTORY = dg.AssetKey(["ETH-EUR", "15m", "candle_history"])
COVERAGE = dg.AssetKey(["ETH-EUR", "15m", "candle_coverage"])
CHART = dg.AssetKey(["ETH-EUR", "15m", "candle_chart"])
HALTS = dg.AssetKey("market_halts")
NOW = datetime(2024, 3, 15, 12, tzinfo=UTC)

ACCOUNT = "http://127.0.0.1:10000/devstoreaccount1"
SECRETS = {"key": "a2V5IHNlY3JldA==", "sas": "c2FzIHNlY3JldA==", "string": "c3RyaW5nIHNlY3JldA=="}
STORAGE = {
    "key": {
        "AZURE_STORAGE_ACCOUNT_URL": ACCOUNT,
        "AZURE_STORAGE_KEY": SECRETS["key"],
        "COINBASE_BUDGET_URL": f"redis://:{SECRETS['key']}@127.0.0.1",
    },
    "sas": {
        "AZURE_STORAGE_ACCOUNT_URL": ACCOUNT,
        "AZURE_STORAGE_SAS_TOKEN": f"sv=2024-01-01&sig={SECRETS['sas']}",
    },
    "string": {
        "AZURE_STORAGE_CONNECTION_STRING": (
            f"AccountName=a;AccountKey={SECRETS['string']};BlobEndpoint={ACCOUNT};"
        )
    },
}


def settings_of(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Settings:
    for name, value in ({} if "AZURE" in str(environment) else STORAGE["string"]).items():
        monkeypatch.setenv(name, value)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return load_settings()


@pytest.fixture
def definitions(monkeypatch: pytest.MonkeyPatch) -> dg.Definitions:
    series = "ETH-EUR:15m,BTC-USD:1d"
    return build_definitions(
        settings_of(monkeypatch, COINBASE_START="2024-01-15", COINBASE_SERIES=series)
    )


def spec_of(definitions: dg.Definitions, key: dg.AssetKey) -> dg.AssetSpec:
    return definitions.resolve_assets_def(key).get_asset_spec(key)


def partition_keys(definitions: dg.Definitions, key: dg.AssetKey) -> list[str]:
    partitions = definitions.resolve_assets_def(key).partitions_def
    assert partitions
    return list(partitions.get_partition_keys(current_time=NOW))


def test_definitions_assets_per_series(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = settings_of(monkeypatch, COINBASE_SERIES="ETH-EUR:15m,BTC-USD:1d")
    graph = build_definitions(settings).resolve_asset_graph()
    assert {key.to_user_string() for key in graph.get_all_asset_keys()} == {
        "ETH-EUR/15m/raw_candles",
        "BTC-USD/1d/raw_candles",
        "ETH-EUR/15m/candle_history",
        "BTC-USD/1d/candle_history",
        "ETH-EUR/15m/candle_coverage",
        "BTC-USD/1d/candle_coverage",
        "ETH-EUR/15m/candle_chart",
        "BTC-USD/1d/candle_chart",
        "market_halts",
        "products",
    }
    assert graph.get(HISTORY).parent_keys == {RAW}
    assert graph.get(COVERAGE).parent_keys == {HISTORY}
    assert graph.get(CHART).parent_keys == {HISTORY, COVERAGE}
    assert graph.get(HALTS).parent_keys == {
        COVERAGE,
        dg.AssetKey(["BTC-USD", "1d", "candle_coverage"]),
    }


def test_definitions_rollup_asset_checks_and_sensor(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(
        monkeypatch, COINBASE_START="2024-01-15", COINBASE_ROLLUPS="ETH-EUR:15m>4h,1w"
    )
    definitions = build_definitions(settings)
    graph = definitions.resolve_asset_graph()
    for granularity in ("4h", "1w"):
        key = dg.AssetKey(["ETH-EUR", granularity, "candle_rollup"])
        assert graph.get(key).parent_keys == {HISTORY}
        assert graph.get(key).group_name == "ETH_EUR"
        names = {check.name for check in graph.get(key).check_keys}
        assert names == {check.name for check in CANDLE_CHECKS}
        months = partition_keys(definitions, key)
        assert months == ["2024-01", "2024-02", "2024-03"]
        rollup = definitions.resolve_assets_def(key)
        assert rollup.backfill_policy == dg.BackfillPolicy.multi_run(24)
    sensor = definitions.get_repository_def().get_sensor_def("candle_rollup_sensor")
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING


def test_definitions_daily_partitions(
    definitions: dg.Definitions,
) -> None:
    keys = partition_keys(definitions, RAW)
    assert (keys[0], keys[-1], len(keys)) == ("2024-01-15", "2024-03-15", 61)


@pytest.mark.parametrize("key", [HISTORY, COVERAGE, HALTS])
def test_definitions_monthly_partitions(definitions: dg.Definitions, key: dg.AssetKey) -> None:
    assert partition_keys(definitions, key) == ["2024-01", "2024-02", "2024-03"]


def test_definitions_no_halts_for_one_order_book(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(monkeypatch, COINBASE_SERIES="BTC-USD:1m,BTC-USDC:1m,BTC-USD:1d")
    assert HALTS not in build_definitions(settings).resolve_asset_graph().get_all_asset_keys()


def test_definitions_partitions_include_today(definitions: dg.Definitions) -> None:
    before = datetime.now(UTC)
    last = {
        key: definitions.resolve_assets_def(key).partitions_def.get_last_partition_key()  # type: ignore[union-attr]
        for key in (RAW, HISTORY)
    }
    days = (before, datetime.now(UTC))
    assert last[RAW] in {f"{day:%Y-%m-%d}" for day in days}
    assert last[HISTORY] in {f"{day:%Y-%m}" for day in days}


def test_definitions_groups_kinds_and_descriptions(definitions: dg.Definitions) -> None:
    raw, history, coverage = (spec_of(definitions, key) for key in (RAW, HISTORY, COVERAGE))
    assert raw.group_name == history.group_name == coverage.group_name == "ETH_EUR"
    assert raw.kinds == {"coinbase", "azure", "parquet"}
    assert history.kinds == coverage.kinds == {"azure", "parquet"}
    assert "ETH-EUR" in (raw.description or "")
    assert "days_missing" in (history.description or "")


@pytest.mark.parametrize(
    ("key", "stored", "unique"),
    [
        (RAW, SCHEMA, ["time"]),
        (HISTORY, SCHEMA, ["time"]),
        (COVERAGE, COVERAGE_SCHEMA, ["start"]),
        (HALTS, HALT_SCHEMA, ["start"]),
    ],
)
def test_definitions_declare_stored_columns(
    definitions: dg.Definitions, key: dg.AssetKey, stored: pa.Schema, unique: list[str]
) -> None:
    schema = spec_of(definitions, key).metadata["dagster/column_schema"]
    assert [(column.name, column.type) for column in schema.columns] == [
        (field.name, str(field.type)) for field in stored
    ]
    assert [column.name for column in schema.columns if column.constraints.unique] == unique
    assert not any(column.constraints.nullable for column in schema.columns)
    assert all(column.description for column in schema.columns)


def test_definitions_backfill_policies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = [f"ETH-EUR:{granularity}" for granularity in Granularity]
    definitions = build_definitions(settings_of(monkeypatch, COINBASE_SERIES=",".join(names)))
    days = {
        series.granularity.value: definitions.resolve_assets_def(
            dg.AssetKey(RAW_CANDLES.asset_key(series))
        ).backfill_policy
        for series in map(Series.parse, names)
    }
    assert days == {
        "1m": dg.BackfillPolicy.multi_run(100),
        **dict.fromkeys(("5m", "15m"), dg.BackfillPolicy.multi_run(500)),
        **dict.fromkeys(("1h", "6h", "1d"), dg.BackfillPolicy.multi_run(1000)),
    }
    for key in (HISTORY, COVERAGE):
        monthly = definitions.resolve_assets_def(key)
        assert monthly.backfill_policy == dg.BackfillPolicy.multi_run(24)


def test_definitions_executor_holds_run_lock(definitions: dg.Definitions) -> None:
    job = definitions.resolve_implicit_global_asset_job_def()
    create: Any = job.executor_def.executor_creation_fn
    assert isinstance(create(None), LockedInProcessExecutor)


def test_definitions_schedules_and_sensors_are_running(definitions: dg.Definitions) -> None:
    repository = definitions.get_repository_def()
    schedules = {schedule.name: schedule.default_status for schedule in repository.schedule_defs}
    sensors = {sensor.name: sensor.default_status for sensor in repository.sensor_defs}
    names: tuple[str, ...] = (
        "live_candles_schedule",
        "settle_candles_schedule",
        "products_schedule",
        "candle_chart_schedule",
    )
    assert schedules == dict.fromkeys(names, dg.DefaultScheduleStatus.RUNNING)
    names = (
        "candle_history_sensor",
        "orphaned_runs_sensor",
        "superseded_runs_sensor",
        "recency_sensor",
        "alerts_sensor",
    )
    assert sensors == dict.fromkeys(names, dg.DefaultSensorStatus.RUNNING)


def test_definitions_heal_job(definitions: dg.Definitions) -> None:
    job = definitions.resolve_job_def("heal_candles")
    assert "not collected or unconfirmed" in (job.description or "")


def test_definitions_hundred_series_without_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ",".join(f"COIN{number}-EUR:1m" for number in range(100))
    settings = settings_of(monkeypatch, COINBASE_SERIES=names)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        definitions = build_definitions(settings)
        dg.Definitions.validate_loadable(definitions)
    assert len(definitions.resolve_asset_graph().get_all_asset_keys()) == 402


@pytest.mark.parametrize("name", STORAGE)
def test_definitions_hold_names_of_secrets_only(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    resources = build_definitions(settings_of(monkeypatch, **STORAGE[name])).resources or {}
    lake = resources["lake"]
    assert isinstance(lake, AzureParquetIOManager)
    storage = str(lake.storage.model_dump())
    assert "AZURE_STORAGE_" in storage
    assert SECRETS[name] not in f"{storage} {resources!r} {resources['exchange'].model_dump()}"


def test_definitions_load_no_heavy_library() -> None:
    """Loading them takes a second, and every run and every tick would wait for it."""
    heavy = "'apprise', 'azure', 'dagster_azure', 'duckdb', 'matplotlib', 'pandas'"
    check = f"import sys, {MODULE} as m; m.defs(); assert not {{{heavy}}} & {{*sys.modules}}"
    subprocess.run([sys.executable, "-c", check], env={**os.environ, **STORAGE["key"]}, check=True)


def test_dagster_cloud_loads_same_module() -> None:
    (location,) = yaml.safe_load((PROJECT / "dagster_cloud.yaml").read_text())["locations"]
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    module = location["code_source"]["module_name"]
    assert importlib.import_module(module).defs
    assert project["tool"]["dagster"] == {
        "module_name": module,
        "code_location_name": location["location_name"],
    }
    assert project["tool"]["dg"]["project"]["code_location_target_module"] == module


@pytest.fixture(scope="module")
def exchange() -> Iterator[StandInExchange]:
    with StandInExchange(rate=None) as exchange:
        yield exchange


@pytest.fixture(scope="module")
def container() -> str:
    return f"test-{uuid.uuid4().hex}"


@pytest.fixture(scope="module")
def started(
    azurite: str,
    exchange: StandInExchange,
    container: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, Process]]:
    """Dagster's commands and its web server, all started at once to save time."""
    folder = tmp_path_factory.mktemp("dagster")
    right = {"AZURE_STORAGE_CONNECTION_STRING": azurite, "COINBASE_CONTAINER": container}
    wrong = right | {"COINBASE_SERIES": "ETH-EUR:2m"}

    def environment(name: str, settings: dict[str, str]) -> dict[str, str]:
        home = quiet_instance(folder / name)
        return process_environment(home, COINBASE_API_URL=exchange.url, **settings)

    shutil.copy(PROJECT / "pyproject.toml", folder)
    with processes(folder) as start:
        server = start_server(start, folder, environment("server", {}))
        materialize = start(
            *("dagster", "asset", "materialize", "--select", RAW.to_user_string()),
            *("--partition", "2024-01-01", "-m", MODULE),
            environment=environment("materialize", right),
        )
        validations = {
            name: start(
                *("dagster", "definitions", "validate", *arguments),
                environment=environment(name, settings),
            )
            for name, settings, arguments in [
                ("project", right, []),
                ("wrong", wrong, ["-m", MODULE]),
                ("no storage", {}, ["-m", MODULE]),
            ]
        }
        yield {"server": server, "materialize": materialize, **validations}


def start_server(start: Start, folder: Path, environment: dict[str, str]) -> Process:
    """Start the web server with three code locations, each with another kind of secret."""
    locations = []
    for name, storage in STORAGE.items():
        file = folder / f"location_{name}.py"
        file.write_text(f"import os\nos.environ.update({storage})\nfrom {MODULE} import defs\n")
        locations.append(f"  - python_file: {{relative_path: {file.name}, location_name: {name}}}")
    workspace = folder / "workspace.yaml"
    workspace.write_text("\n".join(["load_from:", *locations]))
    arguments = ["-w", str(workspace), "-h", "127.0.0.1", "-p", str(free_port())]
    return start("dagster-webserver", *arguments, environment=environment)


def finished(started: dict[str, Process], name: str) -> tuple[CompletedProcess[str], str]:
    result = finish(started[name])
    return result, result.stdout + result.stderr


def test_dagster_validates_code_location(
    started: dict[str, Process],
) -> None:
    result, output = finished(started, "project")
    assert result.returncode == 0, output
    assert "Validation successful for code location coinbase_assets" in output
    assert "BetaWarning" not in output


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "wrong",
            "COINBASE_SERIES=ETH-EUR:2m: 'ETH-EUR:2m': unknown granularity '2m';"
            " allowed are 1m 5m 15m 1h 6h 1d",
        ),
        (
            "no storage",
            "neither AZURE_STORAGE_CONNECTION_STRING nor AZURE_STORAGE_ACCOUNT_URL is set;"
            " set one of them to your storage account, or set"
            " AZURE_STORAGE_CONNECTION_STRING=UseDevelopmentStorage=true for Azurite",
        ),
    ],
)
def test_dagster_reports_wrong_setting_in_one_line(
    started: dict[str, Process], name: str, message: str
) -> None:
    result, output = finished(started, name)
    assert result.returncode == 1
    errors = [line for line in output.splitlines() if "SettingsError: " in line]
    assert errors == [f"coinbase_assets.settings.SettingsError: {message}"]


def test_dagster_materialize_collects_day(
    started: dict[str, Process], azurite: str, container: str
) -> None:
    result, output = finished(started, "materialize")
    assert result.returncode == 0, output
    with BlobServiceClient.from_connection_string(azurite) as service:
        (path,) = ParquetStore(AzureBlobs(service, container)).list("")
        times = ParquetStore(AzureBlobs(service, container)).get(path)["time"].to_pylist()
    assert path == "raw_candles/product=ETH-EUR/granularity=15m/date=2024-01-01/candles.parquet"
    assert {time.date() for time in times} == {date(2024, 1, 1)}
    assert len(times) == 96


RESOURCES = """
query ($repository: RepositorySelector!) {
  allTopLevelResourceDetailsOrError(repositorySelector: $repository) {
    ... on ResourceDetailsList { results { ...Resource } }
  }
}
fragment Resource on ResourceDetails {
  name description resourceType
  configFields { name description defaultValueAsJson }
  configuredValues { key value type }
  parentResources { name }
  nestedResources {
    name type
    resource { name configuredValues { key value type } configFields { name defaultValueAsJson } }
  }
}
"""
RESOURCE = RESOURCES.replace(
    "query ($repository: RepositorySelector!)", "query ($resource: ResourceSelector!)"
).replace(
    """allTopLevelResourceDetailsOrError(repositorySelector: $repository) {
    ... on ResourceDetailsList { results { ...Resource } }""",
    """topLevelResourceDetailsOrError(resourceSelector: $resource) {
    ...Resource""",
)
DEFAULT_CONFIGURATION = """
query ($job: PipelineSelector!) {
  runConfigSchemaOrError(selector: $job) { ... on RunConfigSchema { rootDefaultYaml } }
}
"""
ASSETS = """
query ($repository: RepositorySelector!) {
  repositoryOrError(repositorySelector: $repository) {
    ... on Repository {
      assetNodes {
        assetKey { path }
        description
        metadataEntries { label ... on TextMetadataEntry { text } }
        configField { defaultValueAsJson }
        requiredResources { resourceKey }
      }
    }
  }
}
"""


class WebServer:
    """The web server's answers to GraphQL queries."""

    def __init__(self, process: Process) -> None:
        assert isinstance(process.args, list)
        self._process = process
        self._url = f"http://127.0.0.1:{process.args[-1]}/graphql"

    @tenacity.retry(
        retry=tenacity.retry_if_exception_type(httpx.TransportError),
        wait=tenacity.wait_fixed(0.2),
        stop=tenacity.stop_after_delay(60),
        reraise=True,
    )
    def ask(self, query: str, **variables: Any) -> str:
        assert self._process.poll() is None
        question = {"query": query, "variables": variables}
        with httpx.Client(trust_env=False, timeout=30) as client:
            response = client.post(self._url, json=question)
        assert "errors" not in response.json(), response.text
        return response.text


@pytest.mark.parametrize("location", STORAGE)
def test_web_server_reveals_no_secret(started: dict[str, Process], location: str) -> None:
    server = WebServer(started["server"])
    place = {"repositoryName": "__repository__", "repositoryLocationName": location}
    resources = server.ask(RESOURCES, repository=place)
    lake = server.ask(RESOURCE, resource={**place, "resourceName": "lake"})
    exchange = server.ask(RESOURCE, resource={**place, "resourceName": "exchange"})
    configuration = server.ask(DEFAULT_CONFIGURATION, job={**place, "pipelineName": "__ASSET_JOB"})
    assets = server.ask(ASSETS, repository=place)

    for answer in (resources, configuration):
        assert "coinbasedata" in answer
        assert "budget_path" in answer
    assert "coinbasedata" in lake
    assert "budget_path" in exchange
    assert ("COINBASE_BUDGET_URL" in exchange) == (location == "key")
    assert "raw_candles" in assets
    assert SECRETS[location] not in resources + lake + exchange + configuration + assets
