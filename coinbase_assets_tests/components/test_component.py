"""The component: what its YAML means, and what it adds to a project."""

from datetime import date
from typing import Any

import dagster as dg
import pytest

from coinbase_assets.components.component import CoinbaseCandlesComponent
from coinbase_assets.components.component_fields import (
    AlertFields,
    ExchangeFields,
    FreshnessFields,
    StorageFields,
)
from coinbase_assets.storage.paths import PATH_METADATA
from coinbase_assets_tests.components.project import error_of, keys_of, load, project

STORAGE = {"account_url": "https://example.blob.core.windows.net", "container": "candles"}
ETH = {"series": ["ETH-EUR:15m"], "start": "2024-01-01", "storage": STORAGE}
KINDS = ["raw_candles", "candle_history", "candle_coverage", "candle_chart"]


def test_component_has_assets_of_each_series() -> None:
    attributes = {**ETH, "series": ["ETH-EUR:15m", "BTC-EUR:1h"], "rollups": ["4h"]}
    with project(candles=attributes) as sandbox:
        found = keys_of(load(sandbox))
    assert found == {
        *(f"ETH-EUR/15m/{kind}" for kind in KINDS),
        *(f"BTC-EUR/1h/{kind}" for kind in KINDS),
        "ETH-EUR/4h/candle_rollup",
        "BTC-EUR/4h/candle_rollup",
        "market_halts",
        "products",
    }


def test_component_names_begin_with_its_folder() -> None:
    with project(candles=ETH) as sandbox:
        repository = load(sandbox).get_repository_def()
    names = [*ticking(repository), *(name for name in repository.job_names if "ASSET" not in name)]
    assert len(names) == 15
    assert all(name.startswith("candles_") for name in names)


def ticking(repository: dg.RepositoryDefinition) -> set[str]:
    """Return the names of the schedules and sensors, without Dagster's own sensor."""
    schedules = {each.name for each in repository.schedule_defs}
    sensors = {each.name for each in repository.sensor_defs}
    return schedules | sensors - {"default_automation_condition_sensor"}


def test_component_adds_nothing_unasked() -> None:
    with project(candles=ETH) as sandbox:
        definitions = load(sandbox)
    assert definitions.executor is None
    assert not definitions.loggers
    assert {*(definitions.resources or {})} == {"candles_lake", "candles_exchange"}
    unasked = {"candles_orphaned_runs_sensor", "candles_alerts_sensor"}
    assert not ticking(definitions.get_repository_def()) & unasked


@pytest.mark.parametrize(
    ("part", "lacks", "has"),
    [
        ({"checks": False}, "recency_sensor", "live_candles_schedule"),
        ({"charts": False}, "candle_chart_schedule", "recency_sensor"),
        ({"automation": "none"}, "live_candles_schedule", None),
        ({"alerts": {"web_url": "https://example.com"}}, None, "alerts_sensor"),
    ],
)
def test_parts_can_be_left_out(part: dict[str, Any], lacks: str | None, has: str | None) -> None:
    with project(candles={**ETH, **part}) as sandbox:
        definitions = load(sandbox)
    names = ticking(definitions.get_repository_def())
    assert f"candles_{lacks}" not in names
    assert has is None or f"candles_{has}" in names
    checks = definitions.resolve_asset_graph().asset_check_keys
    assert bool(checks) is part.get("checks", True)
    assert any("chart" in key for key in keys_of(definitions)) is part.get("charts", True)


def test_two_components_with_translation() -> None:
    other = {
        **ETH,
        "storage": {**STORAGE, "container": "other"},
        "translation": {
            "key_prefix": "other",
            "group_name": "{{ data.product | lower | replace('-', '_') }}",
            "tags": {"team": "quants"},
            "owners": ["team:quants"],
            "description": "{{ data.name }} of {{ data.product }}:{{ data.granularity }}",
            "kinds": ["coinbase"],
        },
    }
    with project(candles=ETH, other=other) as sandbox:
        definitions = load(sandbox)
    plain = keys_of(load_alone())
    assert keys_of(definitions) == {*plain, *(f"other/{key}" for key in plain)}
    spec = _spec(definitions, "other/ETH-EUR/15m/candle_history")
    assert spec.group_name == "eth_eur"
    assert spec.owners == ["team:quants"]
    assert spec.tags["team"] == "quants"
    assert spec.tags["product"] == "ETH-EUR"
    assert spec.kinds == {"coinbase"}
    assert spec.description == "candle_history of ETH-EUR:15m"
    (dep,) = spec.deps
    assert dep.asset_key.to_user_string() == "other/ETH-EUR/15m/raw_candles"
    assert spec.metadata[PATH_METADATA] == (
        "candle_history/product=ETH-EUR/granularity=15m/month={partition}/candles.parquet"
    )
    checks = definitions.resolve_asset_graph().asset_check_keys
    assert {key.asset_key.path[0] for key in checks} == {"ETH-EUR", "other"}
    definitions.get_repository_def().load_all_definitions()


def _spec(definitions: dg.Definitions, key: str) -> dg.AssetSpec:
    specs = definitions.resolve_all_asset_specs()
    (found,) = (spec for spec in specs if spec.key == dg.AssetKey.from_user_string(key))
    return found


def load_alone() -> dg.Definitions:
    with project(candles=ETH) as sandbox:
        return load(sandbox)


def test_asset_specs_can_be_overridden() -> None:
    class Loud(CoinbaseCandlesComponent):
        def get_asset_spec(self, spec: dg.AssetSpec, data: Any) -> dg.AssetSpec:
            return spec.replace_attributes(group_name=f"loud_{data.granularity}")

    storage = StorageFields(**STORAGE)
    component = Loud(series=["ETH-EUR:15m"], start=date(2024, 1, 1), storage=storage)
    definitions = component.build_defs_from_state(dg.ComponentTree.for_test().load_context, None)
    groups = {spec.group_name for spec in definitions.resolve_all_asset_specs()}
    assert groups == {"loud_15m", "loud_all"}


@pytest.mark.parametrize(
    ("attributes", "line", "message"),
    [
        (
            {"series": ["ETH-EUR:7m"]},
            3,
            "attributes.series: 'ETH-EUR:7m': unknown granularity '7m'",
        ),
        ({"series": []}, 3, "attributes.series: names no series"),
        ({"start": "tomorrow"}, 5, "attributes.start: tomorrow: not a day; write YYYY-MM-DD"),
        ({"storage": {"container": "C"}}, 7, "attributes.storage.container: not a container name"),
        ({"storage": {"container": "candles"}}, 6, "attributes.storage: give either account_url"),
        (
            {"storage": {"account_url": "{{ env.NOT_SET }}"}},
            7,
            "attributes.storage.account_url: {{ env.NOT_SET }} has no value",
        ),
        ({"rollups": ["7h"]}, 9, "attributes.rollups: '7h': unknown granularity"),
        ({"freshness": {"warn": "soon"}}, 10, "attributes.freshness.warn: not a duration"),
    ],
)
def test_mistakes_name_file_line_and_field(
    attributes: dict[str, Any], line: int, message: str
) -> None:
    with project(candles={**ETH, **attributes}) as sandbox:
        error = error_of(sandbox)
    assert f"candles/defs.yaml:{line}: {message}" in error


def test_unknown_field_is_an_error() -> None:
    with project(candles={**ETH, "rollup": ["1h"]}) as sandbox:
        assert "rollup" in error_of(sandbox)


def test_secrets_are_in_no_error_and_no_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "c2VjcmV0LXNlY3JldC1zZWNyZXQ="
    monkeypatch.setenv("KEY", secret)
    storage = {**STORAGE, "account_key": "{{ env.KEY }}"}
    with project(candles={**ETH, "storage": storage}) as sandbox:
        with sandbox.build_component_tree() as tree:
            component = tree.load_component(sandbox.defs_folder_path / "candles")
        assert secret not in repr(component)
        assert secret not in repr(load(sandbox).resources)
    with project(candles={**ETH, "storage": {**storage, "sas_token": "{{ env.KEY }}"}}) as sandbox:
        assert secret not in error_of(sandbox)


@pytest.mark.parametrize(
    "fields",
    [CoinbaseCandlesComponent, StorageFields, ExchangeFields, FreshnessFields, AlertFields],
)
def test_each_field_has_description_and_example(fields: type[dg.Resolvable]) -> None:
    schema = fields.model().model_json_schema()["properties"]
    lacking = {
        name
        for name, field in schema.items()
        if not (field.get("description") and field.get("examples"))
    }
    assert lacking == ({"defs_state"} if fields is CoinbaseCandlesComponent else set())
