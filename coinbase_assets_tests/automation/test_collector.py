"""The main job: what it collects, skips, builds and reports."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest
from azure.storage.blob import BlobServiceClient, ContainerClient

from coinbase_assets.automation.collector import Collector
from coinbase_assets.automation.plans import Outcome
from coinbase_assets.candles.datasets import CANDLE_COVERAGE, CANDLE_HISTORY, CANDLE_ROLLUP
from coinbase_assets.candles.evidence import Lifetime
from coinbase_assets.candles.series import Series
from coinbase_assets.collection.listing_dates import Lifetimes
from coinbase_assets.completeness.ledger import State
from coinbase_assets.environment.setting_values import parse_rollups
from coinbase_assets.exchange.errors import (
    ExchangeUnavailable,
    ExchangeUnreachable,
    ProductNotFound,
    ProductRemoved,
)
from coinbase_assets.lake.candle_months import stored_series
from coinbase_assets.lake.status import series_status
from coinbase_assets.storage.azure_blobs import AzureBlobs
from coinbase_assets.storage.errors import StorageError
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.running import (
    asset_job,
    build_history,
    collect_raw,
    materialize,
    settings_for,
)
from coinbase_assets_tests.stand_in.exchange import StandInExchange
from coinbase_assets_tests.stand_in.markets import SyntheticMarket, synthetic_markets

HOURS = Series.parse("ETH-EUR:1h")
DAYS = ["2024-01-28", "2024-01-29", "2024-01-30", "2024-01-31", "2024-02-01", "2024-02-02"]


@pytest.fixture
def exchange() -> Iterator[StandInExchange]:
    with StandInExchange(rate=None) as exchange:
        yield exchange


@pytest.fixture
def collector(
    exchange: StandInExchange, lake: ParquetStore, instance: dg.DagsterInstance
) -> Collector:
    settings = settings_for(exchange.url, "ETH-EUR:1h", "NONE-EUR:1h", "BTC-USD:1m")
    return Collector(asset_job(settings), instance, lake)


def test_collect_stores_and_records_days_and_months(
    collector: Collector, lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    plan = collector.plan(HOURS, DAYS)
    assert (plan.runs, plan.requests) == ([DAYS], 2)  # one of them for daily candles
    outcome = collector.collect(plan)
    assert (outcome.missing, outcome.error) == ([], None)
    stored = Counter(path.split("/")[0] for path in lake.list(""))
    assert stored == {
        "raw_candles": 6,
        "candle_history": 2,
        "candle_coverage": 2,
        "market_halts": 2,
        "lakes": 1,
    }
    assert [run.status for run in instance.get_runs()] == [dg.DagsterRunStatus.SUCCESS] * 2


def test_collect_skips_settled_recorded_days(collector: Collector) -> None:
    collector.collect(collector.plan(HOURS, DAYS[1:3]))
    assert collector.plan(HOURS, DAYS).runs == [DAYS[:1], DAYS[3:]]
    assert collector.plan(HOURS, DAYS[1:3]).requests == 0
    assert collector.plan(HOURS, DAYS, again=True).runs == [DAYS]


def test_collect_replaces_deleted_blob_of_recorded_day(
    collector: Collector, lake: ParquetStore, container: ContainerClient
) -> None:
    collector.collect(collector.plan(HOURS, DAYS))
    container.delete_blob(next(path for path in lake.list("raw_") if DAYS[2] in path))
    assert collector.plan(HOURS, DAYS).runs == [DAYS[2:3]]


def test_collect_splits_long_range_into_runs(collector: Collector) -> None:
    first = date(2023, 12, 1)
    days = [str(first + timedelta(day)) for day in range(250)]
    plan = collector.plan(Series.parse("BTC-USD:1m"), days)
    assert [len(run) for run in plan.runs] == [50] * 5
    assert [day for run in plan.runs for day in run] == days


def test_collect_runs_separate_days_apart(collector: Collector) -> None:
    days = ["2024-02-28", "2024-02-29", "2024-03-01", "2024-03-03", "2025-03-04"]
    assert collector.plan(HOURS, days).runs == [days[:3], days[3:4], days[4:]]


@pytest.mark.soak
def test_collect_builds_only_stale_months(
    collector: Collector, exchange: StandInExchange, instance: dg.DagsterInstance
) -> None:
    collector.collect(collector.plan(HOURS, DAYS))
    runs = len(instance.get_runs())
    collector.collect(collector.plan(HOURS, DAYS))
    assert len(instance.get_runs()) == runs
    # A day recorded without its month, as when the process died in between.
    collect_raw(settings_for(exchange.url, "ETH-EUR:1h"), instance, DAYS[-1])
    collector.collect(collector.plan(HOURS, DAYS))
    month = instance.get_latest_materialization_event(dg.AssetKey(CANDLE_HISTORY.asset_key(HOURS)))
    assert month
    assert month.dagster_event
    assert month.dagster_event.partition == "2024-02"
    assert len(instance.get_runs()) == runs + 2


@pytest.mark.soak
def test_collect_builds_month_without_ledger(
    collector: Collector, exchange: StandInExchange, instance: dg.DagsterInstance
) -> None:
    """An older version built no ledgers, and a run may end before it."""
    settings = settings_for(exchange.url, "ETH-EUR:1h")
    collect_raw(settings, instance, DAYS[0], DAYS[3])
    build_history(settings, instance, "2024-01")
    outcome = collector.collect(collector.plan(HOURS, DAYS[:4]))
    assert (outcome.plan.runs, outcome.missing) == ([], [])


@pytest.mark.soak
def test_collect_plans_requests_it_sends(collector: Collector, exchange: StandInExchange) -> None:
    first = date(2023, 1, 1)
    days = [str(first + timedelta(day)) for day in range(320)]
    # 320 days of 24 candles, and 321 daily ones, 300 a request.
    assert collector.plan(HOURS, days).requests == 26 + 2
    plan = collector.plan(HOURS, [*days[:20], days[30]])
    collector.collect(plan)
    assert plan.requests == len(exchange.requests) == (2 + 1) + (1 + 1)


def test_collect_names_unknown_product(collector: Collector) -> None:
    outcome = collector.collect(collector.plan(Series.parse("NONE-EUR:1h"), DAYS[:1]))
    assert isinstance(outcome.error, ProductNotFound)
    assert outcome.missing == [
        "raw_candles 2024-01-28",
        "candle_history 2024-01",
        "candle_coverage 2024-01",
    ]


@pytest.mark.soak
def test_collect_builds_months_before_failure(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    def from_may_on(number: int, product: str, params: Mapping[str, str]) -> str | None:
        return "503" if params["end"] >= "2024-05-01" else None

    days = [f"2024-{month:02}-{day:02}" for month in (1, 3, 5) for day in (1, 2)]
    with StandInExchange(rate=None, faults=from_may_on) as exchange:
        settings = settings_for(exchange.url, "ETH-EUR:1h")
        settings = settings.model_copy(update={"give_up_after": 0.5})
        collector = Collector(asset_job(settings), instance, lake)
        outcome = collector.collect(collector.plan(HOURS, days))
    assert isinstance(outcome.error, ExchangeUnavailable)
    assert outcome.missing == [
        "raw_candles 2024-05-01",
        "raw_candles 2024-05-02",
        "candle_history 2024-05",
        "candle_coverage 2024-05",
    ]


# Changed minds


def collect_from(
    start: str, url: str, instance: dg.DagsterInstance, lake: ParquetStore, days: Sequence[str]
) -> Outcome:
    """Collect with another COINBASE_START, and rollups."""
    changes = {"start": date.fromisoformat(start), "rollups": parse_rollups("ETH-EUR:1h>6h,1w")}
    settings = settings_for(url, "ETH-EUR:1h").model_copy(update=changes)
    collector = Collector(asset_job(settings), instance, lake)
    return collector.collect(collector.plan(HOURS, days))


def derived_tables(lake: ParquetStore) -> Mapping[str, pa.Table]:
    kinds = (CANDLE_HISTORY, CANDLE_COVERAGE, CANDLE_ROLLUP)
    paths = [path for kind in kinds for path in lake.list(f"{kind.name}/")]
    return {path: lake.get(path) for path in paths}


@pytest.mark.soak
@pytest.mark.parametrize(
    "moved",
    [
        "2024-01-25",
        *(pytest.param(day, marks=pytest.mark.soak) for day in ("2024-02-02", "2023-12-15")),
    ],
)
def test_collect_with_moved_start_keeps_what_the_lake_holds(
    exchange: StandInExchange, lake: ParquetStore, instance: dg.DagsterInstance, moved: str
) -> None:
    days = [str(date(2024, 1, 2) + timedelta(day)) for day in range(33)]
    assert not collect_from("2024-01-01", exchange.url, instance, lake, days).failed
    before, asked = derived_tables(lake), len(exchange.requests)
    again = collect_from(moved, exchange.url, instance, lake, [day for day in days if day >= moved])
    assert (again.plan.runs, again.failed, len(exchange.requests)) == ([], False, asked)
    settings = settings_for(exchange.url, "ETH-EUR:1h")
    settings = settings.model_copy(update={"start": date.fromisoformat(moved)})
    for dataset in (CANDLE_HISTORY, CANDLE_COVERAGE):
        materialize(settings, instance, dataset, max(moved, days[0])[:7], "2024-02")
    after = derived_tables(lake)
    assert after.keys() == before.keys()
    for path, table in before.items():
        assert after[path].equals(table), path
    assert series_status(lake, HOURS, date(2024, 2, 4)).complete


@pytest.mark.soak
def test_collect_after_start_moved_into_collected_month_adds_days(
    exchange: StandInExchange, lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    collect_from("2024-01-01", exchange.url, instance, lake, DAYS[:3])
    outcome = collect_from("2024-01-30", exchange.url, instance, lake, DAYS[2:])
    status = series_status(lake, HOURS, date(2024, 2, 3))
    assert (outcome.failed, status.complete, status.days) == (False, True, DAYS)
    assert status.candles == 24 * len(DAYS)


@pytest.mark.soak
def test_collect_of_removed_product_keeps_its_candles(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    markets = synthetic_markets()
    with StandInExchange(rate=None, markets=markets) as exchange:
        collector = Collector(asset_job(settings_for(exchange.url, "ETH-EUR:1h")), instance, lake)
        collector.collect(collector.plan(HOURS, DAYS[:4]))
        del markets["ETH-EUR"]
        outcome = collector.collect(collector.plan(HOURS, DAYS))
        assert isinstance(outcome.error, ProductRemoved)
        assert (outcome.missing, outcome.failed) == ([], False)
        assert "removed ETH-EUR; the lake keeps its candles, up to 2024-01-31;" in str(
            outcome.error
        )
        assert series_status(lake, HOURS, date(2024, 2, 3)).complete
        outcome = collector.collect(collector.plan(HOURS, ["2024-01-20", *DAYS]))
        assert (outcome.missing, outcome.failed) == (["raw_candles 2024-01-20"], True)


@pytest.mark.soak
def test_collect_believes_catalogue_against_not_found(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    """The exchange answers 404 for the candles, but lists the product."""

    def not_found(number: int, product: str, params: Mapping[str, str]) -> str | None:
        return "404" if params.get("start", "") >= "2024-01-29T12" else None

    with StandInExchange(rate=None, faults=not_found) as exchange:
        collector = Collector(asset_job(settings_for(exchange.url, "ETH-EUR:1h")), instance, lake)
        collector.collect(collector.plan(HOURS, DAYS[:2]))
        outcome = collector.collect(collector.plan(HOURS, DAYS))
    assert type(outcome.error) is ProductNotFound
    assert outcome.failed
    assert Lifetimes(lake).get("ETH-EUR") == [Lifetime()]


@pytest.mark.soak
def test_collect_of_product_listed_again_leaves_days_between_unexplained(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    delisted, relisted = datetime(2024, 1, 5, 12, tzinfo=UTC), datetime(2024, 2, 10, tzinfo=UTC)
    listed = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp())
    market = SyntheticMarket("ETH-EUR", listed, untraded=0.0, halts=[(delisted, relisted)])
    now = [datetime(2024, 1, 20, 12, tzinfo=UTC)]
    with StandInExchange(
        rate=None,
        clock=lambda: now[0].timestamp(),
        markets={"ETH-EUR": market},
        delisted=["ETH-EUR"],
    ) as exchange:
        collector = Collector(asset_job(settings_for(exchange.url, "ETH-EUR:1h")), instance, lake)
        january = [f"2024-01-{day:02}" for day in range(1, 11)]
        collector.collect(collector.plan(HOURS, january))
        assert series_status(lake, HOURS, now[0].date()).complete
        now[0] = datetime(2024, 2, 14, 12, tzinfo=UTC)
        collector.collect(collector.plan(HOURS, ["2024-02-10", "2024-02-11"]))
    status = series_status(lake, HOURS, now[0].date())
    assert [(each.start, each.end, each.state) for each in status.unexplained] == [
        (datetime(2024, 1, 20, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC), State.OPEN),
        (datetime(2024, 2, 1, tzinfo=UTC), relisted, State.NOT_COLLECTED),
    ]


# Other settings of the same series


@pytest.mark.soak
def test_collect_asks_nothing_twice_in_another_time_zone(
    collector: Collector, exchange: StandInExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector.collect(collector.plan(HOURS, DAYS))
    before, asked = derived_tables(collector.store), len(exchange.requests)
    for zone in ("Pacific/Kiritimati", "America/Adak"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        assert not collector.collect(collector.plan(HOURS, DAYS)).failed
        assert collector.collect(collector.plan(HOURS, DAYS[2:3], again=True)).missing == []
    monkeypatch.delenv("TZ")
    time.tzset()
    assert len(exchange.requests) == asked + 2 * 2
    for path, table in derived_tables(collector.store).items():
        names = [name for name in table.column_names if name != "evidence"]
        assert table.select(names).equals(before[path].select(names)), path


@pytest.mark.soak
def test_collect_of_series_removed_and_added_again_asks_nothing_twice(
    exchange: StandInExchange, lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    for names in (["ETH-EUR:1h", "ETH-EUR:15m"], ["ETH-EUR:15m"], ["ETH-EUR:15m", "ETH-EUR:1h"]):
        asked = len(exchange.requests)
        collector = Collector(asset_job(settings_for(exchange.url, *names)), instance, lake)
        for name in names:
            assert not collector.collect(collector.plan(Series.parse(name), DAYS)).failed
    assert len(exchange.requests) == asked
    assert list(map(str, stored_series(lake))) == ["ETH-EUR:15m", "ETH-EUR:1h"]


@pytest.mark.soak
def test_collect_into_another_container_begins_anew_and_returns(
    exchange: StandInExchange, lake: ParquetStore, instance: dg.DagsterInstance, azurite: str
) -> None:
    settings = settings_for(exchange.url, "ETH-EUR:1h")
    with BlobServiceClient.from_connection_string(azurite) as service:
        other = f"{settings.container}-2"
        for name, requests in [(settings.container, 2), (other, 2), (settings.container, 0)]:
            asked, store = len(exchange.requests), ParquetStore(AzureBlobs(service, name))
            changed = settings.model_copy(update={"container": name})
            collector = Collector(asset_job(changed), instance, store)
            assert not collector.collect(collector.plan(HOURS, DAYS)).failed
            assert len(exchange.requests) == asked + requests
            assert series_status(store, HOURS, date(2024, 2, 3)).candles == 24 * len(DAYS)


@pytest.mark.soak
@pytest.mark.parametrize("kept", [{}, {"Rows": "24"}], ids=["no metadata", "renamed metadata"])
def test_collect_of_lake_copied_through_files_asks_nothing(
    exchange: StandInExchange,
    lake: ParquetStore,
    instance: dg.DagsterInstance,
    container: ContainerClient,
    tmp_path: Path,
    kept: Mapping[str, str],
) -> None:
    """A tool copied the lake into files and back, and dropped or renamed the blobs' metadata."""
    collector = Collector(asset_job(settings_for(exchange.url, "ETH-EUR:1h")), instance, lake)
    collector.collect(collector.plan(HOURS, DAYS))
    before, asked = series_status(lake, HOURS, date(2024, 2, 3)), len(exchange.requests)
    for number, path in enumerate(lake.list("")):
        file = tmp_path / str(number)
        file.write_bytes(container.download_blob(path).readall())
        container.upload_blob(path, file.read_bytes(), overwrite=True, metadata=dict(kept))
    copied = series_status(lake, HOURS, date(2024, 2, 3))
    assert replace(copied, damage=()) == replace(before, damage=())
    assert collector.plan(HOURS, DAYS).runs == []
    assert not collector.collect(collector.plan(HOURS, DAYS, again=True)).failed
    assert len(exchange.requests) == asked + 2
    assert series_status(lake, HOURS, date(2024, 2, 3)).complete


# Several series


SEVERAL = [Series.parse(name) for name in ("BTC-USD:1h", "ETH-EUR:1h", "ETH-USD:1h")]
MISSING = Series.parse("NONE-EUR:1h")


def collector_of(
    exchange: StandInExchange,
    lake: ParquetStore,
    instance: dg.DagsterInstance,
    series: Sequence[Series],
) -> Collector:
    settings = settings_for(exchange.url, *map(str, series))
    return Collector(asset_job(settings), instance, lake)


def assets_of(instance: dg.DagsterInstance) -> list[set[str]]:
    """Return the series and names of the assets of each run, the first run first."""
    return [
        {"/".join(key.path) for key in run.asset_selection or ()}
        for run in reversed(instance.get_runs())
    ]


def test_series_with_the_same_days_share_runs(
    exchange: StandInExchange, lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    collector = collector_of(exchange, lake, instance, SEVERAL)
    outcomes = list(collector.collect_all([collector.plan(each, DAYS) for each in SEVERAL]))
    assert [(o.plan.series, o.missing, o.error) for o in outcomes] == [
        (each, [], None) for each in SEVERAL
    ]
    raw, monthly = assets_of(instance)
    assert raw == {f"{each.product}/1h/raw_candles" for each in SEVERAL}
    assert len(monthly) == 2 * len(SEVERAL) + 1
    before = len(exchange.requests)
    (outcome,) = collector.collect_all([collector.plan(SEVERAL[0], DAYS)])
    assert not outcome.failed
    assert len(exchange.requests) == before


def test_series_with_other_days_have_runs_of_their_own(
    exchange: StandInExchange, lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    collector = collector_of(exchange, lake, instance, SEVERAL)
    plans = [collector.plan(SEVERAL[0], DAYS), collector.plan(SEVERAL[1], DAYS[:2])]
    assert not any(outcome.failed for outcome in collector.collect_all(plans))
    raw = [each for each in assets_of(instance) if any("raw" in name for name in each)]
    assert raw == [{"BTC-USD/1h/raw_candles"}, {"ETH-EUR/1h/raw_candles"}]


def test_a_missing_product_does_not_keep_others_from_being_collected(
    exchange: StandInExchange, lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    series = [SEVERAL[0], MISSING, SEVERAL[1], SEVERAL[2]]
    collector = collector_of(exchange, lake, instance, series)
    outcomes = list(collector.collect_all([collector.plan(each, DAYS) for each in series]))
    errors = {outcome.plan.series: outcome.error for outcome in outcomes}
    assert isinstance(errors.pop(MISSING), ProductNotFound)
    assert errors == dict.fromkeys(SEVERAL)
    assert {o.plan.series for o in outcomes if o.failed} == {MISSING}
    asked = Counter(
        (request.product, request.params["granularity"])
        for request in exchange.requests
        if request.params.get("granularity") == "3600"
    )
    # Nothing is asked for twice, though the first run ended with the missing product.
    assert asked == {**{(each.product, "3600"): 1 for each in SEVERAL}, ("NONE-EUR", "3600"): 1}


def test_an_outage_ends_all_series(
    exchange: StandInExchange, lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    settings = settings_for("http://127.0.0.1:1", *map(str, SEVERAL))
    settings = settings.model_copy(update={"give_up_after": 0.2})
    collector = Collector(asset_job(settings), instance, lake)
    outcomes = list(collector.collect_all([collector.plan(each, DAYS) for each in SEVERAL]))
    assert [type(outcome.error) for outcome in outcomes] == [ExchangeUnreachable] * 3
    assert len(instance.get_runs()) == 1


def test_an_outage_ends_the_later_runs_of_the_series_that_were_done(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    def for_one(number: int, product: str, params: Mapping[str, str]) -> str | None:
        return "503" if product == SEVERAL[1].product else None

    with StandInExchange(rate=None, faults=for_one) as exchange:
        settings = settings_for(exchange.url, *map(str, SEVERAL[:2]))
        settings = settings.model_copy(update={"give_up_after": 0.2})
        collector = Collector(asset_job(settings), instance, lake)
        days = [DAYS[0], DAYS[2]]
        outcomes = list(collector.collect_all([collector.plan(each, days) for each in SEVERAL[:2]]))
        asked = {request.params["start"][:10] for request in exchange.requests if request.params}
    assert [type(outcome.error) for outcome in outcomes] == [ExchangeUnavailable] * 2
    assert [len(outcome.missing) for outcome in outcomes] == [1, 4]
    assert DAYS[2] not in asked


def test_a_series_that_cannot_be_joined_keeps_no_other_from_it(
    exchange: StandInExchange,
    lake: ParquetStore,
    instance: dg.DagsterInstance,
    container: ContainerClient,
) -> None:
    collector = collector_of(exchange, lake, instance, SEVERAL)
    plans = [collector.plan(each, DAYS[:2]) for each in SEVERAL]
    path = CANDLE_HISTORY.path(SEVERAL[1]).format(partition="2024-01")
    container.create_container()
    lease = container.upload_blob(path, b"not to be replaced").acquire_lease()
    outcomes = list(collector.collect_all(plans))
    lease.release()
    errors = [outcome.error for outcome in outcomes]
    assert isinstance(errors.pop(1), StorageError)
    assert errors == [None, None]
    assert [outcome.failed for outcome in outcomes] == [False, True, False]
