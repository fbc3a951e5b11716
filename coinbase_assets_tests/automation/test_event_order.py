"""Events in a real PostgreSQL that can be read in another order than that of their ids."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import psycopg
import pytest
import tenacity

from coinbase_assets.candles.calendar import following_months
from coinbase_assets.candles.series import Series
from coinbase_assets.dagster_instance.instance_config import POSTGRES_URL, config_for_postgres
from coinbase_assets.dagster_instance.opening import open_instance
from coinbase_assets_tests.automation.test_rebuild_sensors import BTC, ETH, Ticks
from coinbase_assets_tests.running import land
from coinbase_assets_tests.stand_in.servers import SERVERS, running_server

SLOW, FAST = "2024-01-31", "2024-03-01"
# What is written of the slow day can be read when nobody holds lock 1 any more.
SLOW_COMMIT = f"""
CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NULL; END $$;
CREATE TRIGGER wait AFTER INSERT ON event_logs FOR EACH ROW
    WHEN (NEW.partition = '{SLOW}') EXECUTE FUNCTION wait();
"""
WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
TICKS = 200


@pytest.fixture(params=SERVERS[:1])
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    with running_server(request.param) as server:
        yield server.url


@pytest.fixture
def records(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    (tmp_path / "dagster.yaml").write_text(config_for_postgres())
    monkeypatch.setenv(POSTGRES_URL, database)
    with open_instance(tmp_path) as instance:
        yield instance


@contextmanager
def uncommitted(instance: dg.DagsterInstance, database: str, series: Series) -> Iterator[None]:
    """Record the slow day of a series: it has its id in the block, and is readable after it."""
    with ThreadPoolExecutor() as pool, psycopg.connect(database, autocommit=True) as connection:
        connection.execute(SLOW_COMMIT)
        connection.execute("SELECT pg_advisory_lock(1)")
        writing: Future[None] = pool.submit(land, instance, series, SLOW)
        try:
            _wait_for_writer(connection)
            yield
        finally:
            connection.execute("SELECT pg_advisory_unlock(1)")
            writing.result()


@tenacity.retry(wait=tenacity.wait_fixed(0.05), stop=tenacity.stop_after_delay(20), reraise=True)
def _wait_for_writer(connection: psycopg.Connection) -> None:
    assert connection.execute(WAITING).fetchone() == (1,)


@pytest.mark.soak
@pytest.mark.parametrize("slow_series", [ETH, BTC])
def test_event_that_appears_late_is_not_missed(
    records: dg.DagsterInstance, database: str, slow_series: Series
) -> None:
    ticks = Ticks(records, ETH, BTC)
    with uncommitted(records, database, slow_series):
        land(records, ETH, FAST)
        assert ticks.launches() == [({"ETH-EUR"}, "2024-03", "2024-03")]
        assert ticks.launches() == []
    late = ({str(slow_series.product)}, "2024-01", "2024-01")
    assert ticks.launches() == [late]
    assert ticks.launches() == []


@pytest.mark.soak
def test_row_of_asset_with_older_event_hides_nothing(
    records: dg.DagsterInstance, database: str
) -> None:
    """Both are recorded between two ticks, and the older one writes the asset's row last."""
    ticks = Ticks(records, ETH, BTC)
    with uncommitted(records, database, ETH):
        land(records, ETH, FAST)
    found = [launch for _ in range(3) for launch in ticks.launches()]
    assert found == [
        ({"ETH-EUR"}, "2024-01", "2024-01"),
        ({"ETH-EUR"}, "2024-03", "2024-03"),
    ]


@pytest.mark.soak
def test_late_event_of_handled_month_is_another_run(
    records: dg.DagsterInstance, database: str
) -> None:
    ticks = Ticks(records, ETH)
    with uncommitted(records, database, ETH):
        land(records, ETH, "2024-01-01")
        (first,) = ticks()
    (second,) = ticks()
    assert first.tags == second.tags
    assert first.run_key != second.run_key


@pytest.mark.soak
def test_two_writers_under_load_lose_no_month(records: dg.DagsterInstance) -> None:
    ticks, launched = Ticks(records, ETH, BTC), list[tuple[str, str]]()
    months = [*following_months("2018-01", 90)]

    def write(series: Series) -> None:
        for month in months:
            land(records, series, f"{month}-01", f"{month}-02")

    with ThreadPoolExecutor() as pool:
        writers = [pool.submit(write, series) for series in (ETH, BTC)]
        for _ in range(TICKS):
            for products, first, last in ticks.launches():
                launched += [(name, m) for name in products for m in months if first <= m <= last]
        for writer in writers:
            writer.result()
    for products, first, last in ticks.launches():
        launched += [(name, m) for name in products for m in months if first <= m <= last]
    assert set(launched) == {(each.product, month) for each in (ETH, BTC) for month in months}
