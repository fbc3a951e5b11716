"""What the README shows, tried; its commands are held against the real ones in test_cli.py."""

import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dagster as dg
from pyarrow.fs import AzureFileSystem

from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.conftest import AZURITE_KEY
from coinbase_assets_tests.exchange import StandInExchange
from coinbase_assets_tests.running import build_history, collect_raw, settings_for

README = Path(__file__).resolve().parents[1] / "README.md"


def test_the_history_is_read_as_the_readme_says(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    with StandInExchange(rate=None) as exchange:
        settings = settings_for(exchange.url, "ETH-EUR:1h")
        collect_raw(settings, instance, "2024-01-01", "2024-01-02")
        build_history(settings, instance, "2024-01")
    rows = sum(lake.get(path).num_rows for path in lake.list("raw_candles/"))

    host = urlsplit(lake.container_uri).netloc
    places: dict[str, Any] = {f"{kind}_storage_authority": host for kind in ("blob", "dfs")}
    places |= {f"{kind}_storage_scheme": "http" for kind in ("blob", "dfs")}
    azurite = AzureFileSystem("devstoreaccount1", account_key=AZURITE_KEY, **places)
    example = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)[0]
    example = example.replace("coinbasedata", settings.container)
    example = example.replace('AzureFileSystem("ACCOUNT")', "azurite")
    names: dict[str, Any] = {"azurite": azurite}
    exec(example, names)
    assert len(names["candles"]) == rows
    assert list(names["candles"])[:6] == ["time", "open", "high", "low", "close", "volume"]


def test_make_knows_every_target_that_the_documents_name() -> None:
    text = README.read_text() + README.with_name("CONTRIBUTING.md").read_text()
    targets = set(re.findall(r"(?:^|`)make (\w+)", text, re.MULTILINE))
    assert {"run", "dev", "demo", "test"} <= targets
    subprocess.run(["make", "--dry-run", *targets], cwd=README.parent, check=True)
