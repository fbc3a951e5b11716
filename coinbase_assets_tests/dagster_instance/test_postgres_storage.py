"""Dagster's records in a real PostgreSQL, at a URL without a driver."""

import logging
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from coinbase_assets.dagster_instance.deployment import SILENT
from coinbase_assets.dagster_instance.instance_config import POSTGRES_URL, config_for_postgres
from coinbase_assets.dagster_instance.opening import open_instance
from coinbase_assets.dagster_instance.postgres_storage import with_driver
from coinbase_assets_tests.stand_in.servers import SERVERS, Server, running_server

DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-02-01")
RANGE = {
    "dagster/asset_partition_range_start": "2024-01-01",
    "dagster/asset_partition_range_end": "2024-01-31",
}
SECRET = "correct-horse"


@dg.asset(partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run())
def quote() -> None:
    """Materialised for each day."""


@pytest.fixture(scope="module", params=SERVERS[:1])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with running_server(request.param) as server:
        yield server


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "dagster.yaml").write_text(config_for_postgres())
    return tmp_path


@pytest.mark.soak
def test_plain_url_records_run_over_range(
    server: Server, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(POSTGRES_URL, server.url)
    monkeypatch.setenv("DAGSTER_HOME", "")
    with open_instance(home) as instance:
        assert dg.materialize([quote], instance=instance, tags=RANGE, run_config=SILENT).success
    with dg.DagsterInstance.get() as instance:
        assert len(instance.get_materialized_partitions(quote.key)) == 31
        instance.optimize_for_webserver(1000, 1000, 1)
        assert len(instance.get_runs()) == 1
    assert not (home / "history").exists()


@pytest.mark.soak
def test_unreachable_database_is_one_error_without_password(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    monkeypatch.setenv(POSTGRES_URL, f"postgresql://me:{SECRET}@127.0.0.1:1/dagster")
    monkeypatch.setenv("DAGSTER_HOME", "")
    with pytest.raises(OSError, match="cannot be used") as refused, open_instance(home):
        pass
    assert "127.0.0.1" in str(refused.value)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    ["postgres://me:a%2Fb@h:5433/d?sslmode=require", "postgresql+psycopg://me:a%2Fb@h:5433/d"],
)
def test_with_driver_keeps_all_but_driver(url: str) -> None:
    assert with_driver(url) == f"postgresql+psycopg2{url[url.index(':') :]}"
