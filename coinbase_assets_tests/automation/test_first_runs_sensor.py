"""What `first_runs_sensor` requests, on a Dagster instance on disk."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from coinbase_assets.automation import first_runs_sensor as module
from coinbase_assets.automation.first_runs_sensor import build_first_runs_sensor
from coinbase_assets.candles.datasets import CANDLE_COVERAGE, CANDLE_HISTORY, PRODUCTS, Dataset
from coinbase_assets.candles.series import Series
from coinbase_assets.definitions import build_definitions
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.running import land, settings_for

ETH, BTC = "ETH-EUR:15m", "BTC-USD:1h"

pytestmark = pytest.mark.usefixtures("lake")


def tick(
    instance: dg.DagsterInstance, cursor: str = "", *series: str
) -> tuple[dict[str, list[str]], str]:
    """Return the assets of the requested runs by job, and the cursor."""
    settings = settings_for("http://127.0.0.1:1", *(series or (ETH, BTC)))
    repository = build_definitions(settings).get_repository_def()
    context = dg.build_sensor_context(instance, repository_def=repository, cursor=cursor)
    data = build_first_runs_sensor(settings.series).evaluate_tick(context)
    requests = data.run_requests or []
    assets = {
        str(request.job_name): [key.to_user_string() for key in request.asset_selection or []]
        for request in requests
    }
    assert len(assets) == len(requests)
    return assets, data.cursor or ""


def make(instance: dg.DagsterInstance, dataset: Dataset, series: str) -> None:
    key = dg.AssetKey(dataset.asset_key(Series.parse(series)))
    instance.report_runless_asset_event(dg.AssetMaterialization(key, partition="2026-03"))


def test_first_runs_of_empty_instance(instance: dg.DagsterInstance) -> None:
    requested, cursor = tick(instance)
    assert requested == {
        "live_candles": ["ETH-EUR/15m/raw_candles", "BTC-USD/1h/raw_candles"],
        "list_products": ["products"],
    }
    assert tick(instance, cursor)[0] == {}


def test_first_runs_draw_charts_once_history_is_there(instance: dg.DagsterInstance) -> None:
    _, cursor = tick(instance)
    make(instance, CANDLE_HISTORY, ETH)
    assert tick(instance, cursor)[0] == {}
    make(instance, CANDLE_COVERAGE, ETH)
    requested, cursor = tick(instance, cursor)
    assert requested == {"draw_charts": ["ETH-EUR/15m/candle_chart"]}
    assert tick(instance, cursor)[0] == {}


def test_first_runs_of_new_series_only(instance: dg.DagsterInstance) -> None:
    products = dg.AssetKey(PRODUCTS.asset_key())
    instance.report_runless_asset_event(dg.AssetMaterialization(products))
    land(instance, Series.parse(ETH), "2026-03-14")
    requested, cursor = tick(instance, "", ETH)
    assert (requested, cursor) == ({}, "{}")
    assert tick(instance, cursor)[0] == {"live_candles": ["BTC-USD/1h/raw_candles"]}


def test_first_runs_again_after_an_outage(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was requested, but not made, is requested again later."""
    requested, cursor = tick(instance)
    monkeypatch.setattr(module, "_REQUESTED_AGAIN_AFTER", timedelta(0))
    assert tick(instance, cursor)[0] == requested


def test_first_runs_collect_open_day_as_live_refresh(
    instance: dg.DagsterInstance, lake: ParquetStore
) -> None:
    settings = settings_for("http://127.0.0.1:1", ETH)
    repository = build_definitions(settings).get_repository_def()
    before = datetime.now(UTC).date()
    context = dg.build_sensor_context(instance, repository_def=repository)
    data = build_first_runs_sensor(settings.series).evaluate_tick(context)
    tags = next(r.tags for r in data.run_requests or [] if r.job_name == "live_candles")
    assert tags["coinbase_assets/live"] == "true"
    assert tags["dagster/asset_partition_range_start"] in {
        str(before),
        str(datetime.now(UTC).date()),
    }
