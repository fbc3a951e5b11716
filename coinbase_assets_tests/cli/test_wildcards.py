"""COINBASE_SERIES with wildcards: `collect` and `dev` ask for products, nothing else does."""

import json
import os
from pathlib import Path
from unittest import mock

import pytest

from coinbase_assets.definitions import build_definitions
from coinbase_assets.settings import SettingsError, load_settings
from coinbase_assets_tests.cli.users import NewUser, RunHere, User

ETH = ["ETH-EUR:1h", "ETH-USD:1h"]
DAY = ("--from", "2024-01-01", "--to", "2024-01-01", "--dry-run")
CLOSED = {"COINBASE_API_URL": "http://127.0.0.1:1", "COINBASE_GIVE_UP_AFTER": "0.2"}


def file_of(user: User) -> Path:
    return Path(user.environment["DAGSTER_HOME"], "products.json")


def planned(run_here: RunHere, user: User) -> list[str]:
    done = run_here(user, "collect", *DAY)
    assert done.returncode == 0, done.stderr
    lines = [line.split(": ")[0] for line in done.stdout.splitlines()]
    return [line for line in lines if line.endswith(":1h") and " " not in line]


def test_collect_asks_for_products_of_wildcards(new_user: NewUser, run_here: RunHere) -> None:
    user = new_user(COINBASE_SERIES="ETH-*:1h")
    assert planned(run_here, user) == ETH
    assert "ETH-EUR" in json.loads(file_of(user).read_text())["products"]


def test_shard_collects_its_products_of_wildcards(new_user: NewUser, run_here: RunHere) -> None:
    first, third = (new_user(COINBASE_SERIES="ETH-*:1h", COINBASE_SHARD=f"{n}/3") for n in (1, 3))
    assert planned(run_here, first) == ["ETH-EUR:1h"]
    assert planned(run_here, third) == ["ETH-USD:1h"]
    assert json.loads(file_of(first).read_text()) == json.loads(file_of(third).read_text())


def test_products_known_before_stay(new_user: NewUser, run_here: RunHere) -> None:
    user = new_user(COINBASE_SERIES="ETH-*:1h")
    file_of(user).write_text('{"products": ["ETH-OLD"]}')
    assert planned(run_here, user) == sorted([*ETH, "ETH-OLD:1h"])


def test_collect_goes_on_with_known_products(new_user: NewUser, run_here: RunHere) -> None:
    user = new_user(COINBASE_SERIES="ETH-*:1h", **CLOSED)
    done = run_here(user, "collect", *DAY)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: list of products, attempt")
    file_of(user).write_text('{"products": ["ETH-OLD", "ETH-EUR"]}')
    done = run_here(user, "collect", *DAY)
    assert done.stderr.startswith("No new products for COINBASE_SERIES: list of products")
    assert "ETH-OLD:1h: 1 day" in done.stdout


def test_definitions_load_from_the_file_alone(new_user: NewUser) -> None:
    user = new_user(COINBASE_SERIES="ETH-*:1h", **CLOSED)
    with mock.patch.dict(os.environ, user.environment):
        with pytest.raises(SettingsError, match="not known yet; run coinbase-assets collect"):
            load_settings()
        file_of(user).write_text('{"products": ["ETH-OLD", "BTC-EUR"]}')
        keys = build_definitions(load_settings()).resolve_asset_graph().get_all_asset_keys()
    assert {key.path[0] for key in keys if key.path[-1] == "raw_candles"} == {"ETH-OLD"}


def test_damaged_file_is_named(new_user: NewUser, run_here: RunHere) -> None:
    user = new_user(COINBASE_SERIES="ETH-*:1h")
    file_of(user).write_text("{}")
    done = run_here(user, "collect", *DAY)
    assert done.returncode == 2
    assert "products.json: cannot be read as a list of products" in done.stderr
    assert done.stderr.endswith("; delete it\n")
