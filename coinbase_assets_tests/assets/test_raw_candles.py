"""Days collected by Dagster from the stand-in exchange, stored in Azurite."""

import os
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

import dagster as dg
import pyarrow as pa
import pytest

from coinbase_assets.assets import raw_candles
from coinbase_assets.candles.table import SCHEMA
from coinbase_assets.exchange.errors import ExchangeUnavailable, ExchangeUnreachable, InvalidAnswer
from coinbase_assets.settings import Settings
from coinbase_assets.storage.errors import StorageError
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.running import (
    collect_raw,
    partition_metadata,
    refresh_raw,
    retry_raw,
    settings_for,
)
from coinbase_assets_tests.stand_in.exchange import Request, StandInExchange
from coinbase_assets_tests.stand_in.faults import random_faults
from coinbase_assets_tests.stand_in.markets import ListMarket, SyntheticMarket, consistent_market

DAY_1 = 1_704_067_200  # 2024-01-01
HOUR, DAY = 3_600, 86_400
ROWS = [[DAY_1 + hour * HOUR, 1.0, 2.0, 1.5, 1.75, 10.0] for hour in range(24)]


def hourly(exchange: StandInExchange) -> Settings:
    return settings_for(exchange.url, "ETH-EUR:1h")


def exchange_of(rows: list[list[float]]) -> StandInExchange:
    return StandInExchange(rate=None, markets={"ETH-EUR": consistent_market(HOUR, rows)})


def day(store: ParquetStore, key: str = "2024-01-01", granularity: str = "1h") -> pa.Table:
    folder = f"raw_candles/product=ETH-EUR/granularity={granularity}"
    return store.get(f"{folder}/date={key}/candles.parquet")


def asked(exchange: StandInExchange, granularity: int) -> list[Request]:
    wanted = str(granularity)
    return [request for request in exchange.requests if request.params.get("granularity") == wanted]


def values(table: pa.Table) -> list[dict[str, object]]:
    return table.to_pylist()


def recorded(instance: dg.DagsterInstance) -> set[str]:
    return instance.get_materialized_partitions(dg.AssetKey(["ETH-EUR", "1h", "raw_candles"]))


@pytest.mark.soak
def test_raw_range_run_requests_windows_across_days(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    with StandInExchange(rate=None) as exchange:
        settings = settings_for(exchange.url, "ETH-EUR:15m")
        collect_raw(settings, instance, "2024-01-01", "2024-01-31")
        assert len(asked(exchange, 900)) == 10  # 31 days of 96 candles, 300 a request
        assert len(asked(exchange, DAY)) == 1  # to compare with
        assert len(exchange.requests) == 11
    assert len(lake.list("raw_candles/")) == 31


def timestamp(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_raw_partition_metadata(lake: ParquetStore, instance: dg.DagsterInstance) -> None:
    with exchange_of(ROWS[:5] + ROWS[6:]) as exchange:
        result = collect_raw(hourly(exchange), instance, "2024-01-01", "2024-01-02")
        source = exchange.url
    metadata = partition_metadata(result)
    path = "raw_candles/product=ETH-EUR/granularity=1h/date=2024-01-01/candles.parquet"
    blob = lake.list(path)[path]
    first = metadata["2024-01-01"]
    times = [first.pop(name) for name in ("fetched_at", "refreshed_at", "compared_at")]
    fetched_at, refreshed_at, compared_at = (float(str(time)) for time in times)
    assert abs(datetime.now(UTC).timestamp() - fetched_at) < 60
    assert fetched_at <= refreshed_at <= compared_at + 1
    assert first == {
        "dagster/row_count": 23,
        "dagster/uri": lake.uri(path),
        "dagster/size_bytes": blob.size,
        "series": "ETH-EUR:1h",
        "source": source,
        "answered_through": timestamp("2024-01-02T00:00:00Z"),
        "settled": True,
        "witness": "the 1d candles agree",
        "agreement": "1d 1/0/0",
        "requests": 1,
        "missing_buckets": 1,
        "candles_changed": 0,
        "candles_added": 0,
        "candles_vanished": 0,
        "candles_unanswered": 0,
        "first_candle": timestamp("2024-01-01T00:00:00Z"),
        "last_candle": timestamp("2024-01-01T23:00:00Z"),
    }
    assert metadata["2024-01-02"]["missing_buckets"] == 24


def test_raw_day_without_trades_is_empty_blob(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    with exchange_of(ROWS) as exchange:
        collect_raw(hourly(exchange), instance, "2023-12-31", "2024-01-02")
    for key in ("2023-12-31", "2024-01-02"):
        assert day(lake, key).num_rows == 0
        assert day(lake, key).schema.equals(SCHEMA)
    assert day(lake).num_rows == 24


def test_raw_stores_only_candles_closed_by_exchange_clock(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    now = DAY_1 + 5 * HOUR + 1_800
    with StandInExchange(
        rate=None, clock=lambda: now, markets={"ETH-EUR": consistent_market(HOUR, ROWS)}
    ) as exchange:
        result = collect_raw(hourly(exchange), instance, "2024-01-01")
    assert day(lake).num_rows == 5
    metadata = partition_metadata(result)["2024-01-01"]
    assert metadata["answered_through"] == timestamp("2024-01-01T05:00:00Z")
    assert metadata["settled"] is False


def test_raw_day_settled_a_day_after_its_end(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    now = DAY_1 + 72 * HOUR - 1
    with StandInExchange(rate=None, clock=lambda: now) as exchange:
        result = collect_raw(hourly(exchange), instance, "2024-01-01", "2024-01-02")
    settled = {key: fields["settled"] for key, fields in partition_metadata(result).items()}
    assert settled == {"2024-01-01": True, "2024-01-02": False}


def test_raw_newer_answer_wins_and_keeps_omitted_candles(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    with exchange_of(ROWS) as exchange:
        collect_raw(hourly(exchange), instance, "2024-01-01")
    revised = [*ROWS[1][:5], 11.0]
    # The coarser candles still hold what the answer lacks.
    answers = dict(consistent_market(HOUR, [ROWS[0], revised, *ROWS[2:]]).rows)
    answers[HOUR] = [ROWS[0], revised, *ROWS[3:]]
    with StandInExchange(rate=None, markets={"ETH-EUR": ListMarket(answers)}) as exchange:
        collect_raw(hourly(exchange), instance, "2024-01-01")
    volumes = [row["volume"] for row in values(day(lake))]
    assert volumes == [10.0, 11.0] + [10.0] * 22


def test_raw_refuses_invalid_answer_and_keeps_stored(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    with exchange_of(ROWS) as exchange:
        collect_raw(hourly(exchange), instance, "2024-01-01")
    before = day(lake)
    low_above_high = [ROWS[2][0], 3.0, 2.0, 2.5, 2.5, 10.0]
    with (
        exchange_of([*ROWS[:2], low_above_high, *ROWS[3:]]) as exchange,
        pytest.raises(InvalidAnswer) as refused,
    ):
        collect_raw(hourly(exchange), instance, "2024-01-01")
    assert "ETH-EUR:1h 2024-01-01T00:00:00Z until 2024-01-02T00:00:00Z" in str(refused.value)
    assert "2024-01-01T02:00:00Z" in str(refused.value)
    assert "low never exceeds high" in str(refused.value)
    assert day(lake).equals(before, check_metadata=True)


def after_a_month(number: int, product: str, params: Mapping[str, str]) -> str | None:
    late = params["end"] >= "2024-02-01" and params["granularity"] == str(HOUR)
    return "500" if late else None


def test_raw_failed_run_records_stored_days_and_retry_asks_for_the_others(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    with StandInExchange(rate=None, faults=after_a_month) as exchange:
        failing = hourly(exchange).model_copy(update={"give_up_after": 1.0})
        with pytest.raises(ExchangeUnavailable, match=r"ETH-EUR:1h 2024-01-26T.*attempt \d+.*500"):
            collect_raw(failing, instance, "2024-01-01", "2024-03-10")
    stored = {path.split("date=")[1][:10] for path in lake.list("raw_candles/")}
    assert len(stored) == 25  # two answers of 300 hours: 25 whole days
    assert recorded(instance) == stored

    with StandInExchange(rate=None) as exchange:
        retry_raw(hourly(exchange), instance)
        assert min(request.params["start"] for request in asked(exchange, HOUR)) >= "2024-01-25T23"
    assert len(recorded(instance)) == 70


@pytest.mark.soak
def test_raw_retry_of_run_that_succeeded_asks_again(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    with exchange_of(ROWS) as exchange:
        collect_raw(hourly(exchange), instance, "2024-01-01")
        retry_raw(hourly(exchange), instance)
        assert len(asked(exchange, HOUR)) == 2


def failure_of(instance: dg.DagsterInstance) -> tuple[str, Mapping[str, object]]:
    """Return the message and the metadata that the page of the newest run shows."""
    (entry,) = instance.all_logs(
        instance.get_runs()[0].run_id, of_type=dg.DagsterEventType.STEP_FAILURE
    )
    data = entry.get_dagster_event().step_failure_data
    assert data.error
    assert data.user_failure_data
    shown = {name: value.value for name, value in data.user_failure_data.metadata.items()}
    return data.error.message.partition("\n")[0], shown


def test_raw_failure_begins_with_exchange_question_and_remedy(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    settings = settings_for("http://127.0.0.1:1", "ETH-EUR:1h")
    with pytest.raises(ExchangeUnreachable):
        collect_raw(
            settings.model_copy(update={"give_up_after": 0.1}), instance, "2024-01-01", "2024-01-09"
        )
    message, shown = failure_of(instance)
    assert "Failure: Exchange: ETH-EUR:1h 2024-01-01T00:00:00Z until " in message
    assert "no answer from http://127.0.0.1:1" in message
    assert message.endswith("; check the network, HTTPS_PROXY and COINBASE_API_URL")
    assert shown == {
        "cause": "ExchangeUnreachable",
        "asked": "ETH-EUR:1h, 2024-01-01 to 2024-01-09",
        "exchange": "http://127.0.0.1:1",
    }


def test_raw_failure_begins_with_storage(
    lake: ParquetStore, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = os.environ["AZURE_STORAGE_CONNECTION_STRING"]
    wrong = re.sub("AccountKey=[^;]+", "AccountKey=d3Jvbmc=", right)
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", wrong)
    with StandInExchange(rate=None) as exchange, pytest.raises(StorageError):
        collect_raw(hourly(exchange), instance, "2024-01-01")
    message, shown = failure_of(instance)
    assert f"Failure: Storage: {lake.container_uri}/" in message
    assert message.endswith("; check AZURE_STORAGE_...")
    assert shown == {"cause": "StorageError"}


def test_raw_recorded_day_is_fetched_again(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    with exchange_of(ROWS) as exchange:
        collect_raw(hourly(exchange), instance, "2024-01-01")
        collect_raw(hourly(exchange), instance, "2024-01-01")
        assert len(asked(exchange, HOUR)) == 2


@pytest.mark.soak
def test_raw_failing_answers_lose_no_candle(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    market = SyntheticMarket("ETH-EUR")
    with StandInExchange(
        rate=None, markets={"ETH-EUR": market}, faults=random_faults(0.5)
    ) as exchange:
        settings = hourly(exchange).model_copy(update={"give_up_after": 60.0})
        collect_raw(settings, instance, "2024-01-01", "2024-01-31")
        assert any(request.fault for request in exchange.requests)
    expected = market.candles(HOUR, DAY_1, DAY_1 + (31 * 24 - 1) * HOUR, datetime.now().timestamp())
    tables = [lake.get(path) for path in sorted(lake.list("raw_candles/"))]
    times = [row["time"].timestamp() for table in tables for row in table.to_pylist()]
    volumes = [row["volume"] for table in tables for row in table.to_pylist()]
    assert list(zip(times, volumes, strict=True)) == [(row[0], row[5]) for row in expected]


@pytest.mark.soak
def test_raw_spurious_empty_answers_lose_no_candle(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    asked: set[str] = set()

    def first_attempts(number: int, product: str, params: Mapping[str, str]) -> str | None:
        is_first = params["end"][:10] not in asked
        asked.add(params["end"][:10])
        return "empty" if is_first else None

    market = SyntheticMarket("ETH-EUR", untraded=0.0)
    with StandInExchange(rate=None, faults=first_attempts, markets={"ETH-EUR": market}) as exchange:
        collect_raw(hourly(exchange), instance, "2024-01-01", "2024-01-31")
    assert [lake.get(path).num_rows for path in lake.list("raw_candles/")] == [24] * 31


@pytest.mark.soak
def test_raw_streams_days_while_requesting_later(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    """Memory must not grow with the range."""
    stored_by_then: list[int] = []

    def look(number: int, product: str, params: Mapping[str, str]) -> None:
        if params["end"] >= "2024-07-15" and params["granularity"] == "900":
            stored_by_then.append(len(lake.list("raw_candles/")))

    with StandInExchange(rate=None, faults=look) as exchange:
        collect_raw(settings_for(exchange.url, "ETH-EUR:15m"), instance, "2024-01-01", "2024-07-18")
    assert min(stored_by_then) > 80


def test_raw_declares_stored_columns() -> None:
    asset = raw_candles.build_raw_candles(
        settings_for("http://127.0.0.1").series[0], datetime(2024, 1, 1, tzinfo=UTC).date()
    )
    schema = asset.metadata_by_key[asset.key]["dagster/column_schema"]
    assert [(column.name, column.type) for column in schema.columns] == [
        (field.name, str(field.type)) for field in SCHEMA
    ]


# The live refresh


def asked_from(exchange: StandInExchange) -> list[str]:
    """Return the starts of the requests, to the hour, since the client shifts them by seconds."""
    starts = [datetime.fromisoformat(request.params["start"]) for request in exchange.requests]
    return [f"{start + timedelta(minutes=30):%F %H}" for start in starts]


@pytest.fixture
def live_exchange() -> Iterator[StandInExchange]:
    with exchange_of(ROWS) as exchange:
        yield exchange


def set_clock(exchange: StandInExchange, hour: float) -> None:
    exchange.requests.clear()
    exchange.clock = lambda: DAY_1 + hour * HOUR


def test_refresh_requests_since_last_answer(
    lake: ParquetStore, instance: dg.DagsterInstance, live_exchange: StandInExchange
) -> None:
    for hour, start in ((5.5, "2024-01-01 00"), (7.25, "2024-01-01 05"), (9, "2024-01-01 07")):
        set_clock(live_exchange, hour)
        result = refresh_raw(hourly(live_exchange), instance, "2024-01-01")
        assert asked_from(live_exchange) == [start]
    assert day(lake).num_rows == 9
    metadata = partition_metadata(result)["2024-01-01"]
    assert metadata["fetched_at"] == timestamp("2024-01-01T05:30:00Z")
    assert metadata["refreshed_at"] == timestamp("2024-01-01T09:00:00Z")
    assert metadata["answered_through"] == timestamp("2024-01-01T09:00:00Z")


@pytest.mark.soak
def test_refresh_across_midnight_in_one_request(
    lake: ParquetStore, instance: dg.DagsterInstance, live_exchange: StandInExchange
) -> None:
    set_clock(live_exchange, 22.5)
    refresh_raw(hourly(live_exchange), instance, "2024-01-01")
    set_clock(live_exchange, 24.1)
    refresh_raw(hourly(live_exchange), instance, "2024-01-01", "2024-01-02")
    assert set(asked_from(live_exchange)) == {"2024-01-01 22"}
    assert day(lake).num_rows == 24
    assert day(lake, "2024-01-02").num_rows == 0
    set_clock(live_exchange, 24.4)
    refresh_raw(hourly(live_exchange), instance, "2024-01-01", "2024-01-02")
    assert set(asked_from(live_exchange)) == {"2024-01-02 00"}


@pytest.mark.soak
def test_refresh_equals_whole_collection(lake: ParquetStore, instance: dg.DagsterInstance) -> None:
    with StandInExchange(rate=None) as exchange:
        settings = settings_for(exchange.url, "ETH-EUR:1m")
        for hour in (3.3, 11.01, 19.7):
            set_clock(exchange, hour)
            refresh_raw(settings, instance, "2024-01-01")
        refreshed = day(lake, granularity="1m")
        collect_raw(settings, instance, "2024-01-01")
    assert refreshed.num_rows > 1_000
    assert values(day(lake, granularity="1m")) == values(refreshed)


@pytest.mark.soak
def test_refresh_gives_up_soon_and_keeps_candles(
    lake: ParquetStore, instance: dg.DagsterInstance, live_exchange: StandInExchange
) -> None:
    set_clock(live_exchange, 5)
    refresh_raw(hourly(live_exchange), instance, "2024-01-01")
    patient = hourly(live_exchange).model_copy(update={"give_up_after": 3600.0})
    live_exchange.faults = lambda number, product, params: "500"
    with pytest.raises(ExchangeUnavailable):
        refresh_raw(patient, instance, "2024-01-01")
    assert day(lake).num_rows == 5
