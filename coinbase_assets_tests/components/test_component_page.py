"""The component's page in the documentation: its YAML loads, its table has each attribute."""

import re
from typing import Any

import pytest
import yaml

from coinbase_assets.components.component import CoinbaseCandlesComponent
from coinbase_assets_tests.components.project import error_of, load, project
from coinbase_assets_tests.processes import PROJECT

PAGE = (PROJECT / "docs" / "component.md").read_text()
BLOCKS = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_URL", "https://example.blob.core.windows.net")


@pytest.mark.parametrize("block", BLOCKS)
def test_yaml_of_page_loads(block: dict[str, Any]) -> None:
    # YAML reads the day as a date, Dagster's parser as a text.
    attributes = {**block["attributes"], "start": str(block["attributes"]["start"])}
    with project(candles=attributes) as sandbox:
        load(sandbox)


def test_table_of_page_has_each_attribute() -> None:
    named = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    schema = CoinbaseCandlesComponent.model().model_json_schema()
    assert sorted(named) == sorted(schema["properties"])


def test_mistake_of_page_is_real() -> None:
    (shown,) = re.findall(r"```text\ndefs/candles/(.*)\n```", PAGE)
    attributes = {**BLOCKS[0]["attributes"], "series": ["ETH-EUR:7m"], "start": "2024-01-01"}
    with project(candles=attributes) as sandbox:
        assert error_of(sandbox).endswith(f"candles/{shown}")
