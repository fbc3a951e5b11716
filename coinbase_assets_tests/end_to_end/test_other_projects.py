"""The component in somebody else's project: Dagster's own instance, executor and commands."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import yaml
from azure.storage.blob import ContainerClient

from coinbase_assets.candles.datasets import CANDLE_HISTORY, CANDLE_ROLLUP, RAW_CANDLES, Dataset
from coinbase_assets.candles.series import CandleSeries, Series, parse_candle_series
from coinbase_assets.lake.stock import stored_partitions
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.components.project import TYPE
from coinbase_assets_tests.conftest import free_port
from coinbase_assets_tests.end_to_end.browser import BROWSER_TEST, PATIENCE, WebUi, web_ui
from coinbase_assets_tests.processes import (
    end_with_children,
    finish,
    process_environment,
    processes,
)
from coinbase_assets_tests.stand_in.exchange import StandInExchange

pytestmark = [*BROWSER_TEST, pytest.mark.soak]

ETH = Series.parse("ETH-EUR:15m")
FOUR_HOURS = parse_candle_series("ETH-EUR:4h")
JANUARY = {"ops": {"candles_heal": {"config": {"first": "2024-01-01", "last": "2024-01-10"}}}}
RAW = "/".join(RAW_CANDLES.asset_key(ETH))
PYPROJECT = """
[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "host"
"""
DEFINITIONS = """
from pathlib import Path

from dagster import definitions, load_from_defs_folder


@definitions
def defs():
    return load_from_defs_folder(path_within_project=Path(__file__).parent)
"""
OWN_ASSET = """
import dagster as dg


@dg.asset
def own() -> None: ...
"""


def write_project(folder: Path, url: str) -> None:
    """Write a project with an asset of its own; six lines of YAML add the candles."""
    package = folder / "src" / "host"
    (package / "defs" / "candles").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (package / "__init__.py").touch()
    (package / "definitions.py").write_text(DEFINITIONS)
    (package / "defs" / "own.py").write_text(OWN_ASSET)
    attributes = {
        "series": ["ETH-*:15m"],
        "rollups": ["4h"],
        "start": "2024-01-01",
        "storage": {
            "connection_string": "{{ env.LAKE }}",
            "container": "{{ env.LAKE_CONTAINER }}",
        },
        "exchange": {"api_url": url, "requests_per_second": 1000},
    }
    file = package / "defs" / "candles" / "defs.yaml"
    file.write_text(yaml.safe_dump({"type": TYPE, "attributes": attributes}))


@contextmanager
def dg_dev(folder: Path, environment: dict[str, str]) -> Iterator[WebUi]:
    """Run `dg dev` in the folder, and open its web UI."""
    port = free_port()
    command = [sys.executable, "-m", "dagster_dg_cli.cli", "dev", "--port", str(port)]
    with (folder / "dev.log").open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
            text=True,
            start_new_session=True,
        )
        try:
            wait_until(lambda: answers(f"http://127.0.0.1:{port}/server_info"))
            with web_ui(f"http://127.0.0.1:{port}") as ui:
                yield ui
        finally:
            process.send_signal(signal.SIGINT)
            end_with_children(process)


def test_click_and_back_fill_in_other_project(
    tmp_path: Path, lake: ParquetStore, container: ContainerClient
) -> None:
    with StandInExchange(rate=None) as exchange, processes(tmp_path) as start:
        write_project(tmp_path, exchange.url)
        environment = {
            **process_environment(tmp_path / "home"),
            "PYTHONPATH": str(tmp_path / "src"),
            "LAKE": os.environ["AZURE_STORAGE_CONNECTION_STRING"],
            "LAKE_CONTAINER": os.environ["COINBASE_CONTAINER"],
        }
        del environment["AZURE_STORAGE_CONNECTION_STRING"]
        (tmp_path / "home").mkdir()
        # The stock instance, but without a dialogue that covers the page.
        (tmp_path / "home" / "dagster.yaml").write_text("nux: {enabled: false}\n")
        for command in (["list", "components"], ["utils", "refresh-defs-state"], ["check", "defs"]):
            done = finish(start("dg", *command, environment=environment))
            assert done.returncode == 0, done.stdout + done.stderr
        with dg_dev(tmp_path, environment) as ui:
            ui.materialize_latest(RAW)
            wait_until(lambda: str(datetime.now(UTC).date()) in stored(lake))
            ui.picture("other-project-latest")
            ui.open(f"/assets/{RAW}?view=partitions")
            ui.page.get_by_role("button", name="Materialize").click()
            ui.back_fill("2024-01-01", "2024-01-10")
            wait_until(lambda: {f"2024-01-{day:02}" for day in range(1, 11)} <= stored(lake))
            wait_until(lambda: "2024-01" in stored(lake, CANDLE_ROLLUP, FOUR_HOURS))
            container.delete_blob(CANDLE_HISTORY.path(ETH).format(partition="2024-01"))
            heal = ["launch", "--job", "candles_heal_candles", "--config-json", json.dumps(JANUARY)]
            done = finish(start("dg", *heal, environment=environment))
            assert done.returncode == 0, done.stdout + done.stderr
            assert "2024-01" in stored(lake, CANDLE_HISTORY)
            ui.open("/assets/own")
            ui.see_text("own")
            ui.picture("other-project-own")


def stored(
    lake: ParquetStore, dataset: Dataset = RAW_CANDLES, series: CandleSeries = ETH
) -> set[str]:
    return {*stored_partitions(lake, dataset, series)}


def answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.TransportError:
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.5)
