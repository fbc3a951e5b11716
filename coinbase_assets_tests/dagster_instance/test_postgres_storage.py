"""Dagster's records in a real PostgreSQL, at a URL without a driver."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from coinbase_assets.dagster_instance.deployment import SILENT
from coinbase_assets.dagster_instance.instance_config import POSTGRES_URL, config_for_postgres
from coinbase_assets.dagster_instance.opening import open_instance
from coinbase_assets.dagster_instance.postgres_storage import with_driver
from coinbase_assets.dagster_instance.run_tags import range_tags
from coinbase_assets_tests.dagster_instance.test_event_log import DAYS as DAYS_OF_LOG
from coinbase_assets_tests.dagster_instance.test_event_log import materialize, recorded
from coinbase_assets_tests.stand_in.servers import SERVERS, Server, running_server

DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-02-01")
RANGE = {
    "dagster/asset_partition_range_start": "2024-01-01",
    "dagster/asset_partition_range_end": "2024-01-31",
}
SECRET = "correct-horse"
OURS = ("coinbase_assets.dagster_instance.postgres_storage", "PostgresStorage")
THEIRS = ("dagster_postgres", "DagsterPostgresStorage")


@dg.asset(partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run())
def quote() -> None:
    """Materialised for each day."""


@dg.asset(
    partitions_def=dg.DailyPartitionsDefinition("2019-01-01", end_date="2024-01-01"),
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def trade() -> None:
    """Materialised for each day of five years."""


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
def test_event_log_has_same_content_as_dagsters(server: Server, tmp_path: Path) -> None:
    found = []
    for module, name in OURS, THEIRS:
        database = name.lower()
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {database}")
        config = {"postgres_url": with_driver(server.url.replace("/postgres?", f"/{database}?"))}
        storage = {"custom": {"module": module, "class": name, "config": config}}
        overrides = {"telemetry": {"enabled": False}, "storage": storage}
        with dg.DagsterInstance.local_temp(str(tmp_path), overrides=overrides) as instance:
            materialize(instance, DAYS_OF_LOG[0], DAYS_OF_LOG[-1])
            materialize(instance, DAYS_OF_LOG[3], DAYS_OF_LOG[7])
            found.append(recorded(instance))
    assert found[0] == found[1]
    assert len(found[0]["materialised"]) == 31 + 5


@pytest.mark.soak
def test_run_over_five_years_takes_at_most_fifteen_seconds(
    server: Server, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(POSTGRES_URL, server.url)
    tags = range_tags("2019-01-01", "2023-12-31")
    with open_instance(home) as instance:
        before = time.monotonic()
        assert dg.materialize([trade], instance=instance, tags=tags, run_config=SILENT).success
        assert time.monotonic() - before < 15
        assert len(instance.get_materialized_partitions(trade.key)) == 1826


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
