"""The definitions of the code location, built in this process."""

import importlib
import os
import re
import subprocess
import sys
import tomllib
import warnings
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
import yaml

from coinbase_assets.assets.checks import CANDLE_CHECKS
from coinbase_assets.candles.datasets import (
    CANDLE_CHART,
    CANDLE_COVERAGE,
    CANDLE_HISTORY,
    CANDLE_ROLLUP,
    MARKET_HALTS,
    PRODUCTS,
    RAW_CANDLES,
)
from coinbase_assets.candles.series import Granularity, Series
from coinbase_assets.candles.table import SCHEMA
from coinbase_assets.completeness.halts import HALT_SCHEMA
from coinbase_assets.completeness.ledger import COVERAGE_SCHEMA, State
from coinbase_assets.components.own_deployment import build_exchange, build_storage
from coinbase_assets.dagster_instance.executor import LockedInProcessExecutor
from coinbase_assets.definitions import build_definitions
from coinbase_assets.environment.collected_series import add_collected_series
from coinbase_assets.settings import Settings, load_settings
from coinbase_assets_tests.processes import PROJECT
from coinbase_assets_tests.storage_settings import SECRETS, STORAGE

MODULE = "coinbase_assets.definitions"
RAW = dg.AssetKey(["ETH-EUR", "15m", "raw_candles"])
HISTORY = dg.AssetKey(["ETH-EUR", "15m", "candle_history"])
COVERAGE = dg.AssetKey(["ETH-EUR", "15m", "candle_coverage"])
CHART = dg.AssetKey(["ETH-EUR", "15m", "candle_chart"])
HALTS = dg.AssetKey("market_halts")
NOW = datetime(2024, 3, 15, 12, tzinfo=UTC)


def settings_of(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Settings:
    for name, value in ({} if "AZURE" in str(environment) else STORAGE["string"]).items():
        monkeypatch.setenv(name, value)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return load_settings()


@pytest.fixture
def definitions(monkeypatch: pytest.MonkeyPatch) -> dg.Definitions:
    series = "ETH-EUR:15m,BTC-USD:1d"
    return build_definitions(
        settings_of(monkeypatch, COINBASE_START="2024-01-15", COINBASE_SERIES=series)
    )


def spec_of(definitions: dg.Definitions, key: dg.AssetKey) -> dg.AssetSpec:
    return definitions.resolve_assets_def(key).get_asset_spec(key)


def partition_keys(definitions: dg.Definitions, key: dg.AssetKey) -> list[str]:
    partitions = definitions.resolve_assets_def(key).partitions_def
    assert partitions
    return list(partitions.get_partition_keys(current_time=NOW))


def test_definitions_assets_per_series(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = settings_of(monkeypatch, COINBASE_SERIES="ETH-EUR:15m,BTC-USD:1d")
    graph = build_definitions(settings).resolve_asset_graph()
    assert {key.to_user_string() for key in graph.get_all_asset_keys()} == {
        "ETH-EUR/15m/raw_candles",
        "BTC-USD/1d/raw_candles",
        "ETH-EUR/15m/candle_history",
        "BTC-USD/1d/candle_history",
        "ETH-EUR/15m/candle_coverage",
        "BTC-USD/1d/candle_coverage",
        "ETH-EUR/15m/candle_chart",
        "BTC-USD/1d/candle_chart",
        "market_halts",
        "products",
    }
    assert graph.get(HISTORY).parent_keys == {RAW}
    assert graph.get(COVERAGE).parent_keys == {HISTORY}
    assert graph.get(CHART).parent_keys == {HISTORY, COVERAGE}
    assert graph.get(HALTS).parent_keys == {
        COVERAGE,
        dg.AssetKey(["BTC-USD", "1d", "candle_coverage"]),
    }


def test_definitions_show_collected_series_in_their_group(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A series that is not configured has its assets, and no schedule or sensor of candles."""
    add_collected_series(tmp_path, [Series.parse("ETH-EUR:1h"), Series.parse("ETH-EUR:15m")])
    settings = settings_of(monkeypatch, DAGSTER_HOME=str(tmp_path), COINBASE_SERIES="ETH-EUR:15m")
    repository = build_definitions(settings).get_repository_def()
    for kind in ("raw_candles", "candle_history", "candle_coverage"):
        other = repository.asset_graph.get(dg.AssetKey(["ETH-EUR", "1h", kind]))
        assert (other.group_name, other.is_materializable) == ("ETH_EUR", True)
    for name in ("live_candles", "settle_candles", "build_history"):
        keys = repository.get_job(name).asset_layer.executable_asset_keys
        assert {key.path[1] for key in keys} == {"15m"}


def test_definitions_rollup_asset_checks_and_sensor(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(
        monkeypatch, COINBASE_START="2024-01-15", COINBASE_ROLLUPS="ETH-EUR:15m>4h,1w"
    )
    definitions = build_definitions(settings)
    graph = definitions.resolve_asset_graph()
    for granularity in ("4h", "1w"):
        key = dg.AssetKey(["ETH-EUR", granularity, "candle_rollup"])
        assert graph.get(key).parent_keys == {HISTORY}
        assert graph.get(key).group_name == "ETH_EUR"
        names = {check.name for check in graph.get(key).check_keys}
        assert names == {check.name for check in CANDLE_CHECKS}
        months = partition_keys(definitions, key)
        assert months == ["2024-01", "2024-02", "2024-03"]
        rollup = definitions.resolve_assets_def(key)
        assert rollup.backfill_policy == dg.BackfillPolicy.multi_run(24)
    sensor = definitions.get_repository_def().get_sensor_def("candle_rollup_sensor")
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING


def test_definitions_daily_partitions(
    definitions: dg.Definitions,
) -> None:
    keys = partition_keys(definitions, RAW)
    assert (keys[0], keys[-1], len(keys)) == ("2024-01-15", "2024-03-15", 61)


@pytest.mark.parametrize("key", [HISTORY, COVERAGE, HALTS])
def test_definitions_monthly_partitions(definitions: dg.Definitions, key: dg.AssetKey) -> None:
    assert partition_keys(definitions, key) == ["2024-01", "2024-02", "2024-03"]


def test_definitions_no_halts_for_one_order_book(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(monkeypatch, COINBASE_SERIES="BTC-USD:1m,BTC-USDC:1m,BTC-USD:1d")
    assert HALTS not in build_definitions(settings).resolve_asset_graph().get_all_asset_keys()


def test_definitions_partitions_include_today(definitions: dg.Definitions) -> None:
    before = datetime.now(UTC)
    last = {
        key: definitions.resolve_assets_def(key).partitions_def.get_last_partition_key()  # type: ignore[union-attr]
        for key in (RAW, HISTORY)
    }
    days = (before, datetime.now(UTC))
    assert last[RAW] in {f"{day:%Y-%m-%d}" for day in days}
    assert last[HISTORY] in {f"{day:%Y-%m}" for day in days}


def test_definitions_groups_kinds_and_descriptions(definitions: dg.Definitions) -> None:
    raw, history, coverage = (spec_of(definitions, key) for key in (RAW, HISTORY, COVERAGE))
    assert raw.group_name == history.group_name == coverage.group_name == "ETH_EUR"
    assert raw.kinds == {"source", "azure", "parquet"}
    assert history.kinds == coverage.kinds == {"azure", "parquet"}
    assert "ETH-EUR" in (raw.description or "")
    assert "days_missing" in (history.description or "")


def test_definitions_descriptions_are_short_and_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(
        monkeypatch, COINBASE_SERIES="ETH-EUR:1m,BTC-USD:1m", COINBASE_ROLLUPS="ETH-EUR:1m>4h"
    )
    specs = build_definitions(settings).resolve_all_asset_specs()
    datasets = (
        RAW_CANDLES,
        CANDLE_HISTORY,
        CANDLE_COVERAGE,
        CANDLE_ROLLUP,
        CANDLE_CHART,
        MARKET_HALTS,
        PRODUCTS,
    )
    assert {spec.key.path[-1] for spec in specs} == {dataset.name for dataset in datasets}
    for spec in specs:
        assert spec.description
        assert len(re.findall(r"\.( |$)", spec.description)) <= 2, spec.description
        schema = spec.metadata.get("dagster/column_schema", dg.TableSchema([]))
        for text in (spec.description, *(column.description for column in schema.columns)):
            assert "README" not in text
    (coverage, *_) = (spec for spec in specs if spec.key.path[-1] == CANDLE_COVERAGE.name)
    states = coverage.metadata["dagster/column_schema"].columns[3].description
    assert all(state in states for state in State)


def test_definitions_owners_and_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(
        monkeypatch,
        COINBASE_SERIES="ETH-EUR:1m,BTC-USD:1m",
        COINBASE_ROLLUPS="ETH-EUR:1m>4h",
        COINBASE_OWNERS="ada@example.com,team:market-data",
    )
    graph = build_definitions(settings).resolve_asset_graph()
    assert {tuple(graph.get(key).owners) for key in graph.get_all_asset_keys()} == {
        ("ada@example.com", "team:market-data")
    }
    assert dg.AssetSelection.tag("exchange", "coinbase").resolve(graph) == (
        graph.get_all_asset_keys()
    )
    found = dg.AssetSelection.tag("product", "ETH-EUR") & dg.AssetSelection.tag("granularity", "4h")
    assert found.resolve(graph) == {dg.AssetKey(["ETH-EUR", "4h", "candle_rollup"])}


@pytest.mark.parametrize(
    ("key", "stored", "unique"),
    [
        (RAW, SCHEMA, ["time"]),
        (HISTORY, SCHEMA, ["time"]),
        (COVERAGE, COVERAGE_SCHEMA, ["start"]),
        (HALTS, HALT_SCHEMA, ["start"]),
    ],
)
def test_definitions_declare_stored_columns(
    definitions: dg.Definitions, key: dg.AssetKey, stored: pa.Schema, unique: list[str]
) -> None:
    schema = spec_of(definitions, key).metadata["dagster/column_schema"]
    assert [(column.name, column.type) for column in schema.columns] == [
        (field.name, str(field.type)) for field in stored
    ]
    assert [column.name for column in schema.columns if column.constraints.unique] == unique
    assert [column.constraints.nullable for column in schema.columns] == [
        field.nullable for field in stored
    ]
    assert all(column.description for column in schema.columns)


def test_definitions_backfill_policies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = [f"ETH-EUR:{granularity}" for granularity in Granularity]
    definitions = build_definitions(settings_of(monkeypatch, COINBASE_SERIES=",".join(names)))
    days = {
        series.granularity.value: definitions.resolve_assets_def(
            dg.AssetKey(RAW_CANDLES.asset_key(series))
        ).backfill_policy
        for series in map(Series.parse, names)
    }
    assert days == {
        "1m": dg.BackfillPolicy.multi_run(50),
        "5m": dg.BackfillPolicy.multi_run(150),
        "15m": dg.BackfillPolicy.multi_run(250),
        **dict.fromkeys(("1h", "6h", "1d"), dg.BackfillPolicy.multi_run(1000)),
    }
    for key in (HISTORY, COVERAGE):
        monthly = definitions.resolve_assets_def(key)
        assert monthly.backfill_policy == dg.BackfillPolicy.multi_run(24)


def test_definitions_executor_holds_run_lock(definitions: dg.Definitions) -> None:
    job = definitions.resolve_implicit_global_asset_job_def()
    create: Any = job.executor_def.executor_creation_fn
    assert isinstance(create(None), LockedInProcessExecutor)


def test_definitions_schedules_and_sensors_are_running(definitions: dg.Definitions) -> None:
    repository = definitions.get_repository_def()
    schedules = {schedule.name: schedule.default_status for schedule in repository.schedule_defs}
    sensors = {sensor.name: sensor.default_status for sensor in repository.sensor_defs}
    names: tuple[str, ...] = (
        "live_candles_schedule",
        "settle_candles_schedule",
        "heal_candles_schedule",
        "products_schedule",
        "candle_chart_schedule",
    )
    assert schedules == dict.fromkeys(names, dg.DefaultScheduleStatus.RUNNING)
    names = (
        "first_runs_sensor",
        "candle_history_sensor",
        "stale_months_sensor",
        "orphaned_runs_sensor",
        "superseded_runs_sensor",
        "recency_sensor",
        "alerts_sensor",
    )
    assert sensors == dict.fromkeys(names, dg.DefaultSensorStatus.RUNNING)


def test_definitions_every_asset_has_its_automations(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the web UI lists them on the asset's page: by job, or by the sensor's selection."""
    settings = settings_of(
        monkeypatch, COINBASE_SERIES="ETH-EUR:15m,BTC-USD:1d", COINBASE_ROLLUPS="ETH-EUR:15m>4h"
    )
    repository = build_definitions(settings).get_repository_def()
    automations = defaultdict[str, set[str]](set)
    for schedule in repository.schedule_defs:
        for key in repository.get_job(schedule.job_name).asset_layer.executable_asset_keys:
            automations[key.path[-1]].add(schedule.name)
    for sensor in repository.sensor_defs:
        chosen = sensor.asset_selection
        keys = set(chosen.resolve(repository.asset_graph) if chosen else ())
        for target in sensor.targets:
            keys.update(repository.get_job(target.job_name).asset_layer.executable_asset_keys)
        for key in keys:
            automations[key.path[-1]].add(sensor.name)
    everywhere = {"orphaned_runs_sensor"}
    assert {name: found - everywhere for name, found in automations.items()} == {
        "raw_candles": {
            "live_candles_schedule",
            "settle_candles_schedule",
            "first_runs_sensor",
            "recency_sensor",
        },
        "candle_history": {"candle_history_sensor", "stale_months_sensor"},
        "candle_coverage": {"candle_history_sensor", "stale_months_sensor"},
        "market_halts": {"candle_history_sensor", "stale_months_sensor"},
        "candle_rollup": {"candle_rollup_sensor", "stale_months_sensor"},
        "candle_chart": {"candle_chart_schedule", "first_runs_sensor"},
        "products": {"products_schedule", "first_runs_sensor"},
    }


@pytest.mark.soak
def test_definitions_mixed_granularities_load_without_warning() -> None:
    """A job collects series whose back-fill policies differ, of which Dagster warns."""
    load = f"from {MODULE} import defs; defs().get_repository_def()"
    environment = os.environ | STORAGE["key"] | {"COINBASE_SERIES": "ETH-EUR:1m,ETH-EUR:1h"}
    done = subprocess.run(
        [sys.executable, "-c", load], env=environment, check=True, capture_output=True, text=True
    )
    assert done.stderr == ""


def test_definitions_heal_job(definitions: dg.Definitions) -> None:
    job = definitions.resolve_job_def("heal_candles")
    assert "uncollected or unconfirmed" in (job.description or "")
    offered = job.run_config["ops"]["heal"]["config"] if job.run_config else None
    assert offered == {
        "series": ["ETH-EUR:15m", "BTC-USD:1d"],
        "first": "2024-01-15",
        "last": "",
    }
    assert dg.validate_run_config(job, job.run_config)
    assert dg.validate_run_config(job, {})
    heal: Any = job.graph.node_named("heal").definition
    fields = heal.config_schema.config_type.fields
    assert fields.keys() == {*offered, "most_requests"}
    assert all(field.description and not field.is_required for field in fields.values())


def test_definitions_offer_no_pickling_io_manager(definitions: dg.Definitions) -> None:
    repository = definitions.get_repository_def()
    for job in repository.get_all_jobs():
        assert job.resource_defs["io_manager"] is job.resource_defs["lake"], job.name


@pytest.mark.soak
def test_definitions_hundred_series_without_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ",".join(f"COIN{number}-EUR:1m" for number in range(100))
    settings = settings_of(monkeypatch, COINBASE_SERIES=names)
    with warnings.catch_warnings():
        # Other warnings are errors in all tests.
        warnings.simplefilter("error", dg.BetaWarning)
        definitions = build_definitions(settings)
        dg.Definitions.validate_loadable(definitions)
    assert len(definitions.resolve_asset_graph().get_all_asset_keys()) == 402


@pytest.mark.parametrize("name", STORAGE)
def test_definitions_hold_names_of_secrets_only(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    settings = settings_of(monkeypatch, **STORAGE[name])
    storage = str(build_storage(settings).model_dump())
    assert "AZURE_STORAGE_" in storage
    exchange = build_exchange(settings).model_dump()
    assert SECRETS[name] not in f"{storage} {exchange} {build_definitions(settings).resources!r}"


@pytest.mark.parametrize(
    ("resource", "value"),
    [
        ("exchange", {"api_url": "https://evil.example"}),
        ("exchange", {"api_url": {"env": "AZURE_STORAGE_SAS_TOKEN"}}),
        ("exchange", {"budget_path": "/anywhere"}),
        ("exchange", {"budget_url": "redis://evil.example"}),
        ("lake", {"container": "another"}),
        ("lake", {"storage": {"account_url": "https://evil.example"}}),
    ],
)
def test_run_config_cannot_replace_endpoints_and_paths(
    monkeypatch: pytest.MonkeyPatch, resource: str, value: dict[str, object]
) -> None:
    job = build_definitions(settings_of(monkeypatch)).resolve_implicit_global_asset_job_def()
    run_config = {"resources": {resource: {"config": value}}}
    with pytest.raises(dg.DagsterInvalidConfigError, match="unexpected config entry"):
        dg.validate_run_config(job, run_config)
    assert dg.validate_run_config(job)


def test_definitions_load_no_heavy_library() -> None:
    """Loading them takes a second, and every run and every tick would wait for it."""
    heavy = "'apprise', 'azure', 'dagster_azure', 'duckdb', 'matplotlib', 'pandas'"
    check = f"import sys, {MODULE} as m; m.defs(); assert not {{{heavy}}} & {{*sys.modules}}"
    subprocess.run([sys.executable, "-c", check], env={**os.environ, **STORAGE["key"]}, check=True)


def test_dagster_cloud_loads_same_module() -> None:
    (location,) = yaml.safe_load((PROJECT / "dagster_cloud.yaml").read_text())["locations"]
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    module = location["code_source"]["module_name"]
    assert importlib.import_module(module).defs
    assert project["tool"]["dagster"] == {
        "module_name": module,
        "code_location_name": location["location_name"],
    }
    assert project["tool"]["dg"]["project"]["code_location_target_module"] == module


def test_shard_leaves_halts_to_who_knows_all_products(monkeypatch: pytest.MonkeyPatch) -> None:
    series = "BTC-USD:1m,ADA-EUR:1m,ETH-EUR:1m"
    settings = settings_of(monkeypatch, COINBASE_SERIES=series, COINBASE_SHARD="2/3")
    definitions = build_definitions(settings)
    keys = definitions.resolve_asset_graph().get_all_asset_keys()
    assert {key.path[0] for key in keys if key.path[-1] == "raw_candles"} == {"BTC-USD", "ADA-EUR"}
    assert dg.AssetKey("market_halts") not in keys
    jobs = definitions.get_repository_def().get_all_jobs()
    assert all("market_halts" not in job.graph.node_dict for job in jobs)
