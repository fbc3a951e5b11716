"""What tests of the storage share: a Dagster instance, runs in it, an Azurite's cache and port."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from coinbase_assets.storage.azurite_program import installed_azurite
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets.storage.resource import AzureStorageResource
from coinbase_assets_tests.conftest import free_port
from coinbase_assets_tests.storage.prices import Runner, lake_of


@pytest.fixture(scope="module")
def in_memory() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance for all tests; creating one takes longer than most tests."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def run(lake: ParquetStore, connection_string: str, in_memory: dg.DagsterInstance) -> Runner:
    storage = AzureStorageResource(connection_string=connection_string)
    return Runner(lake_of(storage), in_memory)


@pytest.fixture(scope="session")
def installed() -> Path:
    """The folder of the Azurite in the user's cache, since an installation takes long."""
    return installed_azurite().parents[5]


@pytest.fixture
def cache(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder for this test, in which that Azurite is installed."""
    folder = tmp_path / "cache"
    (folder / "coinbase-assets").mkdir(mode=0o700, parents=True)
    (folder / "coinbase-assets" / installed.name).symlink_to(installed)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture
def port(cache: Path) -> Iterator[int]:
    """A free port. An Azurite that still listens on it after the test is killed."""
    port = free_port()
    yield port
    for server in servers(port):
        os.kill(server, signal.SIGKILL)


def servers(port: int) -> list[int]:
    """Return the ids of the processes that run or start Azurite on the port."""
    listing = subprocess.run(
        ["ps", "-wweo", "pid,args"], capture_output=True, text=True, check=True
    )
    lines = listing.stdout.splitlines()
    return [int(line.split()[0]) for line in lines if f"--blobPort {port} " in line]
