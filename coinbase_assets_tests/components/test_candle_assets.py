"""`candle_assets`: the same as the component, in Python."""

import os

import dagster as dg
import pytest

from coinbase_assets import AlertOptions, AzureStorageResource, CandleAsset, candle_assets
from coinbase_assets.candles.datasets import CANDLE_HISTORY, RAW_CANDLES
from coinbase_assets.candles.series import Series
from coinbase_assets.exchange.resource import ExchangeResource
from coinbase_assets.lake.stock import stored_partitions
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.components.project import keys_of
from coinbase_assets_tests.stand_in.exchange import StandInExchange

ACCOUNT = AzureStorageResource(account_url="https://example.blob.core.windows.net")
ETH = Series.parse("ETH-EUR:15m")


@dg.asset
def own() -> None:
    """An asset of the host."""


def with_prefix(spec: dg.AssetSpec, data: CandleAsset) -> dg.AssetSpec:
    return spec.replace_attributes(key=spec.key.with_prefix("other"), group_name=data.name)


def test_definitions_merge_with_others_and_with_themselves() -> None:
    first = candle_assets(series=["ETH-EUR:15m"], start="2024-01-01", storage=ACCOUNT)
    second = candle_assets(
        series=["ETH-EUR:15m"],
        start="2024-01-01",
        storage=ACCOUNT,
        container="other",
        translation=with_prefix,
        name="other",
    )
    merged = dg.Definitions.merge(dg.Definitions(assets=[own]), first, second)
    merged.get_repository_def().load_all_definitions()
    assert keys_of(merged) == {"own", *keys_of(first), *keys_of(second)}
    assert {"own", "other/products", "products"} <= keys_of(merged)
    assert merged.executor is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"series": ["ETH-EUR"]}, "without a granularity"),
        ({"series": ["ETX-*:1h"], "products": ["ETH-EUR"]}, "ETX-.:1h: no product matches"),
        ({"rollups": ["BTC-USD:1h>4h"]}, "made from BTC-USD:1h, which is not collected"),
        ({"start": "soon"}, "not a day"),
        ({"container": "C"}, "not a container name"),
        ({"automation": "magic"}, "'magic' is not a valid Automation"),
    ],
)
def test_wrong_values_are_named(options: dict[str, object], message: str) -> None:
    right = {"series": ["ETH-EUR:15m"], "start": "2024-01-01", "storage": ACCOUNT}
    with pytest.raises(ValueError, match=message):
        candle_assets(**{**right, **options})  # type: ignore[arg-type]


def test_rollups_of_all_products_are_made_of_shortest_candles() -> None:
    series = ["ETH-EUR:15m", "ETH-EUR:1h", "BTC-EUR:6h", "LTC-EUR:1d"]
    definitions = candle_assets(
        series=series, rollups=["1h", "12h"], start="2024-01-01", storage=ACCOUNT
    )
    graph = definitions.resolve_asset_graph()
    parents = {
        key.to_user_string(): [parent.to_user_string() for parent in graph.get(key).parent_keys]
        for key in graph.get_all_asset_keys()
        if key.path[-1] == "candle_rollup"
    }
    assert parents == {
        "ETH-EUR/12h/candle_rollup": ["ETH-EUR/15m/candle_history"],
        "BTC-EUR/12h/candle_rollup": ["BTC-EUR/6h/candle_history"],
    }


def test_translated_assets_work_beside_others(
    lake: ParquetStore, connection_string: str, instance: dg.DagsterInstance
) -> None:
    storage = AzureStorageResource(connection_string=connection_string)
    with StandInExchange(rate=None) as exchange:
        candles = candle_assets(
            series=["ETH-EUR:15m"],
            rollups=["4h"],
            start="2024-01-01",
            storage=storage,
            container=os.environ["COINBASE_CONTAINER"],
            exchange=ExchangeResource(api_url=exchange.url, requests_per_second=1000),
            alerts=AlertOptions(),
            translation=with_prefix,
            name="other",
        )
        merged = dg.Definitions.merge(candles, dg.Definitions(assets=[own]))
        job = merged.resolve_implicit_global_asset_job_def()
        raw = dg.AssetKey(["other", *RAW_CANDLES.asset_key(ETH)])
        days = {
            "dagster/asset_partition_range_start": "2024-01-01",
            "dagster/asset_partition_range_end": "2024-01-03",
        }
        assert job.execute_in_process(instance=instance, asset_selection=[raw], tags=days).success
        (request,) = requests_of(merged, "other_candle_history_sensor", instance)
        assert {key.path[0] for key in request.asset_selection or []} == {"other"}
        for name in ("other_candle_history_sensor", "other_candle_rollup_sensor"):
            for request in requests_of(merged, name, instance):
                assert job.execute_in_process(
                    instance=instance, asset_selection=request.asset_selection, tags=request.tags
                ).success
        for name in ("other_recency_sensor", "other_alerts_sensor", "other_first_runs_sensor"):
            requests_of(merged, name, instance)
    assert {*stored_partitions(lake, CANDLE_HISTORY, ETH)} == {"2024-01"}
    rollup = dg.AssetKey(["other", "ETH-EUR", "4h", "candle_rollup"])
    assert instance.get_materialized_partitions(rollup) == {"2024-01"}


def requests_of(
    definitions: dg.Definitions, name: str, instance: dg.DagsterInstance
) -> list[dg.RunRequest]:
    repository = definitions.get_repository_def()
    sensor = repository.get_sensor_def(name)
    keys = sensor.required_resource_keys
    resources = {key: (definitions.resources or {})[key] for key in keys}
    with dg.build_sensor_context(
        instance=instance, repository_def=repository, resources=resources
    ) as context:
        return list(sensor.evaluate_tick(context).run_requests or [])


def test_conditions_materialise_months_of_new_days(instance: dg.DagsterInstance) -> None:
    definitions = candle_assets(
        series=["ETH-EUR:15m"],
        start="2024-01-01",
        storage=ACCOUNT,
        charts=False,
        automation="declarative",
    )
    first = dg.evaluate_automation_conditions(definitions, instance)
    for day in ("2024-01-05", "2024-03-07"):
        key = dg.AssetKey(RAW_CANDLES.asset_key(ETH))
        instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=day))
    second = dg.evaluate_automation_conditions(definitions, instance, cursor=first.cursor)
    history = dg.AssetKey(CANDLE_HISTORY.asset_key(ETH))
    assert second.get_requested_partitions(history) == {"2024-01", "2024-03"}
    third = dg.evaluate_automation_conditions(definitions, instance, cursor=second.cursor)
    assert not third.get_requested_partitions(history)
