"""Wildcards: the exchange's products are the component's state."""

import uuid
from pathlib import Path

import dagster as dg
import pytest
from azure.storage.blob import BlobServiceClient
from dagster._core.storage.defs_state.base import set_defs_state_storage
from dagster.components.testing import DefsFolderSandbox

from coinbase_assets.environment.listed_products import read_products
from coinbase_assets.exchange.errors import ExchangeError
from coinbase_assets_tests.components.project import (
    error_of,
    keys_of,
    load,
    project,
    refresh,
    write_component,
)
from coinbase_assets_tests.components.test_component import ETH
from coinbase_assets_tests.stand_in.exchange import StandInExchange
from coinbase_assets_tests.stand_in.markets import synthetic_markets

LISTED_LATER = "ETH-GBP"
CLOSED = "http://127.0.0.1:1"


def wildcards(url: str) -> dict[str, object]:
    exchange = {"api_url": url, "give_up_after": 0.2}
    return {**ETH, "series": ["ETH-*:1h", "BTC-USD:1h"], "exchange": exchange}


def raw_products(sandbox: DefsFolderSandbox) -> set[str]:
    keys = keys_of(load(sandbox))
    return {key.split("/")[0] for key in keys if key.endswith("/raw_candles")}


def test_state_is_old_and_new_products() -> None:
    markets, delisted = synthetic_markets(), list[str]()
    eth = {name for name in markets if name.startswith("ETH-")}
    with (
        StandInExchange(markets=markets, delisted=delisted) as exchange,
        project(candles=wildcards(exchange.url)) as sandbox,
    ):
        assert raw_products(sandbox) == {"BTC-USD"}
        refresh(sandbox, "candles")
        assert raw_products(sandbox) == eth | {"BTC-USD"}
        delisted.append(min(eth))
        markets[LISTED_LATER] = markets[min(eth)]
        assert raw_products(sandbox) == eth | {"BTC-USD"}
        refresh(sandbox, "candles")
        assert raw_products(sandbox) == {*eth, LISTED_LATER, "BTC-USD"}


def test_versioned_state_is_old_and_new_products(instance: dg.DagsterInstance) -> None:
    storage = instance.defs_state_storage
    assert storage
    markets = synthetic_markets(["ETH-EUR"])
    versioned = {"defs_state": {"management_type": "VERSIONED_STATE_STORAGE"}}
    with (
        set_defs_state_storage(storage),
        StandInExchange(markets=markets) as exchange,
        project(candles={**wildcards(exchange.url), **versioned}) as sandbox,
    ):
        refresh(sandbox, "candles")
        markets[LISTED_LATER] = markets.pop("ETH-EUR")
        refresh(sandbox, "candles")
        key = "CoinbaseCandlesComponent[candles]"
        file = sandbox.project_root / "state"
        storage.download_state_to_path(key, storage.get_latest_version(key) or "", file)
        assert read_products(file) == ["ETH-EUR", LISTED_LATER]


def test_state_in_azure(azurite: str, tmp_path: Path) -> None:
    container = f"test-{uuid.uuid4().hex}"
    with BlobServiceClient.from_connection_string(azurite) as service:
        service.create_container(container)
    (tmp_path / "dagster.yaml").write_text(
        "defs_state_storage:\n"
        "  module: dagster._core.storage.defs_state.blob_storage_state_storage\n"
        "  class: UPathDefsStateStorage\n"
        "  config:\n"
        f"    base_path: az://{container}/defs-state\n"
        f"    storage_options: {{connection_string: '{azurite}'}}\n"
    )
    versioned = {"defs_state": {"management_type": "VERSIONED_STATE_STORAGE"}}
    with (
        dg.DagsterInstance.from_config(str(tmp_path)) as instance,
        set_defs_state_storage(instance.defs_state_storage),
        StandInExchange() as exchange,
        project(candles={**wildcards(exchange.url), **versioned}) as sandbox,
    ):
        refresh(sandbox, "candles")
        with BlobServiceClient.from_connection_string(azurite) as service:
            stored = [blob.name for blob in service.get_container_client(container).list_blobs()]
    assert [name.rpartition("/")[0] for name in stored] == [
        "defs-state/CoinbaseCandlesComponent__candles__"
    ]


def test_definitions_load_while_exchange_is_down() -> None:
    with StandInExchange() as exchange, project(candles=wildcards(exchange.url)) as sandbox:
        refresh(sandbox, "candles")
        before = raw_products(sandbox)
        write_component(sandbox, "candles", wildcards(CLOSED))
        assert raw_products(sandbox) == before
        with pytest.raises(ExchangeError):
            refresh(sandbox, "candles")
        assert raw_products(sandbox) == before


def test_nothing_is_fetched_while_loading_or_without_wildcards() -> None:
    with StandInExchange() as exchange:
        plain = {**wildcards(exchange.url), "series": ["ETH-EUR:1h"]}
        with project(candles=wildcards(exchange.url), plain=plain) as sandbox:
            load(sandbox)
            refresh(sandbox, "plain")
            assert not exchange.requests


def test_wildcard_without_match_names_products_like_it() -> None:
    with StandInExchange() as exchange:
        attributes = {**wildcards(exchange.url), "series": ["ETG-*:1h"]}
        with project(candles=attributes) as sandbox:
            refresh(sandbox, "candles")
            assert "ETG-*:1h: no product matches; there are" in error_of(sandbox)


def test_damaged_state_is_named() -> None:
    with StandInExchange() as exchange, project(candles=wildcards(exchange.url)) as sandbox:
        refresh(sandbox, "candles")
        (state,) = sandbox.defs_folder_path.glob(".local_defs_state/*/state")
        state.write_text('{"products": ["../etc"]}')
        assert "cannot be read as a list of products" in error_of(sandbox)
