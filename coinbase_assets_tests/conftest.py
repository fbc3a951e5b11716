"""What many tests use: a real Azurite, an empty container, a Dagster instance."""

import gc
import os
import shutil
import signal
import socket
import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory
from azure.storage.blob import BlobServiceClient, ContainerClient

from coinbase_assets.candles.blob_rules import LakeRules
from coinbase_assets.storage.azure_blobs import AzureBlobs
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.needs import NEEDS, mark_needs
from coinbase_assets_tests.stand_in.azurite import azurite_by_hand
from coinbase_assets_tests.stand_in.forward_proxy import Proxy, forward_proxy

EMULATOR, AZURE = "emulator", "azure"

# A background job of a shell ignores Ctrl-C. So would the processes that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with what it needs. Files with long tests begin first."""
    for item in items:
        mark_needs(item)
    long = {item.path for item in items if item.get_closest_marker("long")}
    items.sort(key=lambda item: item.path not in long)


def pytest_collection_finish() -> None:
    """Keep imported modules out of garbage collections, which else take 0.3 s each."""
    gc.freeze()


def pytest_unconfigure() -> None:
    gc.unfreeze()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that is marked so at both forms of an account's address."""
    is_marked = metafunc.definition.get_closest_marker("both_addresses")
    if is_marked and "connection_string" in metafunc.fixturenames:
        metafunc.parametrize("connection_string", [EMULATOR, AZURE], indirect=True)


def pytest_configure(config: pytest.Config) -> None:
    for marker, (description, _) in NEEDS.items():
        config.addinivalue_line("markers", f"{marker}: {description}")


def free_port() -> int:
    """Return a port of 127.0.0.1 that no process uses now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the developer's settings away from the tests."""
    for name in os.environ:
        if name.startswith(("COINBASE_", "AZURE_", "DAGSTER_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    monkeypatch.setattr("coinbase_assets.settings.load_env_file", lambda path: None)


@pytest.fixture(scope="session", autouse=True)
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the checkout's instance away from fixtures that several tests share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(tmp_path_factory.mktemp("shared") / "dagster"))
        yield


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The connection string of an Azurite that runs for this session."""
    with azurite_by_hand(tmp_path_factory.mktemp("azurite"), free_port()) as connection_string:
        yield connection_string


@pytest.fixture(scope="session")
def azurite_proxy(azurite: str) -> Iterator[Proxy]:
    """Brings every host's requests to the Azurite of this session."""
    port = azurite.partition("127.0.0.1:")[2].partition("/")[0]
    with forward_proxy(int(port)) as proxy:
        yield proxy


def at_azure(emulator: str) -> str:
    """Return the connection string with the form of address that Azure's own accounts have."""
    account, key, _ = emulator.split(";", 2)
    host = f"{account.removeprefix('AccountName=')}.blob.core.windows.net"
    return f"{account};{key};BlobEndpoint=http://{host};"


@pytest.fixture
def connection_string(
    azurite: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> str:
    """The account's connection string, with the form of address that is the parameter."""
    if getattr(request, "param", EMULATOR) == EMULATOR:
        return azurite
    for name, value in request.getfixturevalue("azurite_proxy").environment.items():
        monkeypatch.setenv(name, value)
    return at_azure(azurite)


@pytest.fixture
def lake(connection_string: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[ParquetStore]:
    """An empty container. The settings in the environment name it."""
    container = f"test-{uuid.uuid4().hex}"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", connection_string)
    monkeypatch.setenv("COINBASE_CONTAINER", container)
    with BlobServiceClient.from_connection_string(connection_string) as service:
        yield ParquetStore(AzureBlobs(service, container), LakeRules())


@pytest.fixture
def container(lake: ParquetStore, connection_string: str) -> Iterator[ContainerClient]:
    """The lake's container, to damage or delete its blobs."""
    with BlobServiceClient.from_connection_string(connection_string) as service:
        yield service.get_container_client(lake.container_uri.rpartition("/")[2])


def new_instance_at(home: Path) -> dg.DagsterInstance:
    """Return a Dagster instance with the project's storages, in the folder `home`."""
    overrides = {
        "telemetry": {"enabled": False},
        # Capturing compute logs starts four processes per step.
        "compute_logs": {
            "module": "dagster._core.storage.noop_compute_log_manager",
            "class": "NoOpComputeLogManager",
        },
        "event_log_storage": {
            "module": "coinbase_assets.dagster_instance.event_log",
            "class": "BatchedSqliteEventLogStorage",
            "config": {"base_dir": str(home / "history" / "runs")},
        },
    }
    return dg.DagsterInstance.local_temp(str(home), overrides=overrides)


@pytest.fixture(scope="session", autouse=True)
def databases_without_sync() -> Iterator[None]:
    """Let the system decide when SQLite's files reach the disk: no test cuts the power."""

    def without_sync(connection: object, record: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous=OFF")

    sa.event.listen(sa.Engine, "connect", without_sync)
    yield
    sa.event.remove(sa.Engine, "connect", without_sync)


@pytest.fixture(scope="session", autouse=True)
def migrations_read_once() -> Iterator[None]:
    """Let alembic read Dagster's list of migrations once, not 0.1 s for each instance."""
    read = ScriptDirectory.from_config
    known: dict[str | None, ScriptDirectory] = {}

    def read_once(config: Config) -> ScriptDirectory:
        folder = config.get_main_option("script_location")
        return known.setdefault(folder, known.get(folder) or read(config))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScriptDirectory, "from_config", read_once)
        yield


@pytest.fixture(scope="session")
def new_instance(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a new Dagster instance. Copying it is faster than creating another."""
    home = tmp_path_factory.mktemp("instance")
    with new_instance_at(home):
        return home


@pytest.fixture
def instance(new_instance: Path, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """A Dagster instance on disk, like that of a user."""
    with new_instance_at(shutil.copytree(new_instance, tmp_path / "instance")) as instance:
        yield instance
