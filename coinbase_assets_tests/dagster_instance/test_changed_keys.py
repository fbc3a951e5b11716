"""An instance with records under the earlier asset keys (kind first) goes on with the new keys."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from coinbase_assets.candles.datasets import CANDLE_COVERAGE, CANDLE_HISTORY, RAW_CANDLES
from coinbase_assets.candles.series import Series
from coinbase_assets.cli.main import main
from coinbase_assets.dagster_instance.opening import open_instance
from coinbase_assets_tests.processes import process_environment
from coinbase_assets_tests.stand_in.exchange import StandInExchange

SERIES = Series.parse("ETH-EUR:15m")
DAYS = [f"2024-01-0{day}" for day in (1, 2, 3)]
COLLECT = ["collect", "--from", DAYS[0], "--to", DAYS[-1]]
OLD_KEYS = [
    dg.AssetKey([dataset.name, "ETH-EUR", "15m"])
    for dataset in (RAW_CANDLES, CANDLE_HISTORY, CANDLE_COVERAGE)
]
BEFORE_FOLDERS = Path(__file__).with_name("dagster_before_folders.yaml")


@pytest.fixture
def exchange() -> Iterator[StandInExchange]:
    noon = datetime(2024, 1, 5, 12, tzinfo=UTC)
    with StandInExchange(rate=None, clock=noon.timestamp) as exchange:
        yield exchange


@pytest.fixture
def environment(
    lake: object, azurite: str, exchange: StandInExchange, monkeypatch: pytest.MonkeyPatch
) -> Iterator[pytest.MonkeyPatch]:
    """The settings of a user; restores the handler of SIGTERM that `main` replaces."""
    settings = {
        "COINBASE_API_URL": exchange.url,
        "COINBASE_REQUESTS_PER_SECOND": "1000",
        "COINBASE_SERIES": str(SERIES),
        "COINBASE_START": DAYS[0],
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    handler = signal.getsignal(signal.SIGTERM)
    yield monkeypatch
    signal.signal(signal.SIGTERM, handler)


def materialized(home: Path, key: dg.AssetKey) -> set[str]:
    with open_instance(home) as instance:
        return instance.get_materialized_partitions(key)


def record_old_keys(home: Path) -> None:
    with open_instance(home) as instance:
        for key in OLD_KEYS:
            for partition in DAYS if key.path[0] == RAW_CANDLES.name else [DAYS[0][:7]]:
                event = dg.AssetMaterialization(key, partition=partition)
                instance.report_runless_asset_event(event)
    (home / "dagster.yaml").write_bytes(BEFORE_FOLDERS.read_bytes())


@pytest.mark.soak
def test_collect_records_settled_days_under_new_keys(
    environment: pytest.MonkeyPatch, exchange: StandInExchange, tmp_path: Path
) -> None:
    environment.setenv("DAGSTER_HOME", str(tmp_path / "first"))
    main(COLLECT)
    old = tmp_path / "old"
    environment.setenv("DAGSTER_HOME", str(old))
    record_old_keys(old)
    before = len(exchange.requests)
    main(COLLECT)
    assert exchange.requests[before:] == []
    new_key = dg.AssetKey(RAW_CANDLES.asset_key(SERIES))
    assert materialized(old, new_key) == set(DAYS)
    assert materialized(old, dg.AssetKey(CANDLE_HISTORY.asset_key(SERIES))) == {"2024-01"}

    # The command of the changelog removes the records of the earlier keys, and no others.
    keys = [json.dumps(key.path) for key in OLD_KEYS]
    wipe = [sys.executable, "-m", "dagster", "asset", "wipe", "--noprompt", *keys]
    subprocess.run(wipe, env=process_environment(old), check=True, capture_output=True)
    with open_instance(old) as instance:
        assert not set(OLD_KEYS) & set(instance.all_asset_keys())
    assert materialized(old, new_key) == set(DAYS)
