"""What the README shows, tried; its commands are held against the real ones in test_cli.py."""

import re
import subprocess
from pathlib import Path
from typing import Any

import dagster as dg

from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.running import build_history, collect_raw, settings_for
from coinbase_assets_tests.stand_in.azurite import AZURITE_KEY
from coinbase_assets_tests.stand_in.exchange import StandInExchange

README = Path(__file__).resolve().parents[1] / "README.md"


def test_the_history_is_read_as_the_readme_says(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    with StandInExchange(rate=None) as exchange:
        settings = settings_for(exchange.url, "ETH-EUR:15m")
        collect_raw(settings, instance, "2024-01-01", "2024-01-07")
        build_history(settings, instance, "2024-01")
    one, all_of_them = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(re.sub(r"2026-11-0(\d)", r"2024-01-0\1", one), names)
    assert list(names["candles"]) == ["time", "close"]
    assert len(names["candles"]) == 7 * 96

    url, _, container = lake.container_uri.rpartition("/")
    account = f'"{url}", account_key="{AZURITE_KEY}"'
    example = all_of_them.replace('"https://ACCOUNT.blob.core.windows.net"', account)
    exec(example.replace("coinbasedata", container), names)
    assert names["history"].column_names == ["product", "time", "close"]
    assert names["history"].num_rows == 7 * 96


def test_make_knows_every_target_that_the_documents_name() -> None:
    text = README.read_text() + README.with_name("CONTRIBUTING.md").read_text()
    targets = set(re.findall(r"(?:^|`)make (\w+)", text, re.MULTILINE))
    assert {"run", "dev", "demo", "test"} <= targets
    subprocess.run(["make", "--dry-run", *targets], cwd=README.parent, check=True)
