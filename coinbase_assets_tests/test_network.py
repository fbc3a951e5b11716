"""A proxy in the environment: for the outside, not for this machine's own services."""

import os
from pathlib import Path

import pytest

from coinbase_assets.proxies import bypass_proxies_on_this_machine
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.conftest import free_port
from coinbase_assets_tests.processes import finish, process_environment, processes

PROXY = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY")


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_proxies_bypassed_for_storage_on_this_machine(
    lake: ParquetStore, tmp_path: Path, name: str
) -> None:
    storage = ("AZURE_STORAGE_CONNECTION_STRING", "COINBASE_CONTAINER")
    settings = {each: os.environ[each] for each in storage}
    environment = process_environment(tmp_path / "home", **settings)
    environment[name] = f"http://127.0.0.1:{free_port()}"
    with processes(tmp_path) as start:
        done = finish(start("coinbase-assets", "status", environment=environment))
    assert done.stderr == ""
    assert "ETH-EUR:15m  0 " in done.stdout


@pytest.mark.parametrize(
    ("given", "bypassed"),
    [
        ({}, None),
        ({"HTTP_PROXY": "http://proxy"}, "127.0.0.1,localhost"),
        ({"http_proxy": "http://proxy", "NO_PROXY": "a,b"}, "a,b,127.0.0.1,localhost"),
        ({"http_proxy": "http://proxy", "no_proxy": "c", "NO_PROXY": "a"}, "c,127.0.0.1,localhost"),
        ({"http_proxy": "http://proxy", "NO_PROXY": "*"}, "*"),
    ],
)
def test_what_is_bypassed_already_stays_so(
    given: dict[str, str], bypassed: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in PROXY:
        # Set first, so that it is put back afterwards whatever is done to it.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    bypass_proxies_on_this_machine()
    assert (os.environ.get("no_proxy") or os.environ.get("NO_PROXY")) == bypassed
