"""Dagster's commands and its web server, as processes that load the code location."""

import os
import shutil
import uuid
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from pwd import getpwnam
from subprocess import CompletedProcess
from typing import Any

import dagster as dg
import httpx
import pytest
import tenacity
from azure.storage.blob import BlobServiceClient

from coinbase_assets.storage.azure_blobs import AzureBlobs
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.conftest import free_port
from coinbase_assets_tests.processes import (
    PROJECT,
    Process,
    Start,
    finish,
    process_environment,
    processes,
    quiet_instance,
)
from coinbase_assets_tests.stand_in.exchange import StandInExchange
from coinbase_assets_tests.storage_settings import SECRETS, STORAGE

MODULE = "coinbase_assets.definitions"
WEB_SERVER = "coinbase_assets.web.server"
RAW = dg.AssetKey(["ETH-EUR", "15m", "raw_candles"])


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
            # Azurite and the stand-in exchange are on this machine, so the proxy is not for them.
            environment=environment("materialize", right) | {"ALL_PROXY": "http://127.0.0.1:9"},
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
    arguments = ["--workspace", str(workspace), "--port", str(free_port())]
    return start("python", "-m", WEB_SERVER, *arguments, environment=environment)


def finished(started: dict[str, Process], name: str) -> tuple[CompletedProcess[str], str]:
    result = finish(started[name])
    return result, result.stdout + result.stderr


@pytest.mark.soak
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
        pytest.param(
            "wrong",
            "COINBASE_SERIES=ETH-EUR:2m: 'ETH-EUR:2m': unknown granularity '2m';"
            " allowed are 1m 5m 15m 1h 6h 1d",
            marks=pytest.mark.soak,
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
        (path,) = ParquetStore(AzureBlobs(service, container)).list("raw_candles/")
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
        self.url = f"http://127.0.0.1:{process.args[-1]}"

    @tenacity.retry(
        retry=tenacity.retry_if_exception_type(httpx.TransportError),
        wait=tenacity.wait_fixed(0.2),
        stop=tenacity.stop_after_delay(60),
        reraise=True,
    )
    def ask(self, query: str, **variables: Any) -> str:
        assert self._process.poll() is None
        response = self.send({"query": query, "variables": variables})
        assert "errors" not in response.json(), response.text
        return response.text

    def send(self, question: dict[str, Any], **headers: str) -> httpx.Response:
        with httpx.Client(trust_env=False, timeout=30) as client:
            return client.post(f"{self.url}/graphql", json=question, headers=headers)


@pytest.mark.parametrize("location", STORAGE)
def test_web_server_reveals_no_secret(started: dict[str, Process], location: str) -> None:
    server = WebServer(started["server"])
    place = {"repositoryName": "__repository__", "repositoryLocationName": location}
    resources = server.ask(RESOURCES, repository=place)
    lake = server.ask(RESOURCE, resource={**place, "resourceName": "lake"})
    exchange = server.ask(RESOURCE, resource={**place, "resourceName": "exchange"})
    configuration = server.ask(DEFAULT_CONFIGURATION, job={**place, "pipelineName": "__ASSET_JOB"})
    assets = server.ask(ASSETS, repository=place)

    for name in ("lake", "exchange"):
        assert f'"{name}"' in resources
    assert "resources: {}\\n" in configuration
    assert "raw_candles" in assets
    assert SECRETS[location] not in resources + lake + exchange + configuration + assets


LAUNCH = "mutation { launchRun(executionParams: {}) { __typename } }"
PING = {"query": "{ version }"}


@pytest.mark.parametrize(
    "foreign",
    [
        {"Host": "evil.example"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
def test_web_server_refuses_foreign_requests(
    started: dict[str, Process], foreign: dict[str, str]
) -> None:
    server = WebServer(started["server"])
    server.ask(PING["query"])
    response = server.send(PING, **foreign)
    assert response.status_code == 403
    assert response.text.startswith("Refused: ")


def test_web_server_refuses_mutation_by_get(started: dict[str, Process]) -> None:
    server = WebServer(started["server"])
    server.ask(PING["query"])
    with httpx.Client(trust_env=False, timeout=30) as client:
        assert client.get(f"{server.url}/graphql", params=PING).json()["data"]["version"]
        refused = client.get(f"{server.url}/graphql", params={"query": LAUNCH})
    assert (refused.status_code, refused.text) == (
        403,
        "Refused: GET is for queries; send a mutation by POST\n",
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can send requests as another user")
def test_web_server_refuses_other_users(started: dict[str, Process]) -> None:
    server = WebServer(started["server"])
    server.ask(PING["query"])
    # The client reads certificates, which the other user may not be allowed to read.
    with httpx.Client(trust_env=False) as client:
        os.seteuid(getpwnam("nobody").pw_uid)
        try:
            own, spoofed = (
                client.get(f"{server.url}/server_info", headers=headers)
                for headers in ({}, {"X-Forwarded-For": "127.0.0.1"})
            )
        finally:
            os.seteuid(0)
    refused = "Refused: the request comes from another user of this machine\n"
    assert (own.status_code, own.text) == (spoofed.status_code, spoofed.text) == (403, refused)
