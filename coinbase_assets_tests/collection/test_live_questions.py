"""Live runs ask for all of their series at once, and their steps take the answers."""

import os
import threading
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from coinbase_assets import AzureStorageResource, candle_assets
from coinbase_assets.candles.calendar import DAY, day_start
from coinbase_assets.candles.datasets import RAW_CANDLES
from coinbase_assets.candles.series import Series
from coinbase_assets.collection.live_questions import live_questions
from coinbase_assets.dagster_instance.deployment import SILENT
from coinbase_assets.dagster_instance.run_tags import LIVE, range_tags
from coinbase_assets.exchange.resource import ExchangeResource
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.running import asset_job, settings_for
from coinbase_assets_tests.stand_in.exchange import StandInExchange

SERIES = [Series.parse(f"{name}:15m") for name in ("BTC-EUR", "BTC-USD", "ETH-EUR")]
PRODUCTS = {each.product for each in SERIES}


class TogetherOnly:
    """Answers nothing before all products were asked for."""

    def __init__(self) -> None:
        self._asked, self._together = set[str](), threading.Event()

    def __call__(self, number: int, product: str, params: Mapping[str, str]) -> str | None:
        self._asked.add(product)
        if self._asked >= PRODUCTS:
            self._together.set()
        return None if self._together.wait(timeout=5) else "503"


def refresh(exchange: StandInExchange, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    return run(asset_job(settings_for(exchange.url, *map(str, SERIES))), instance)


def run(job: dg.JobDefinition, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    today = f"{datetime.now(UTC):%F}"
    return job.execute_in_process(
        instance=instance,
        asset_selection=[dg.AssetKey(RAW_CANDLES.asset_key(each)) for each in SERIES],
        tags={LIVE: "true", **range_tags(today, today)},
        run_config=SILENT,
        raise_on_error=False,
    )


def test_all_series_are_asked_for_before_the_first_is_answered(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    four = day_start(f"{datetime.now(UTC):%F}") + timedelta(hours=4)
    with StandInExchange(rate=None, faults=TogetherOnly(), clock=four.timestamp) as exchange:
        assert refresh(exchange, instance).success
        assert Counter(request.product for request in exchange.requests) == Counter(PRODUCTS)
    for each in SERIES:
        (blob,) = lake.list(RAW_CANDLES.folder(each)).values()
        assert int(blob.fields["rows"]) == 16


def test_series_that_fails_keeps_no_other_from_its_candles(
    lake: ParquetStore, instance: dg.DagsterInstance
) -> None:
    def refused(number: int, product: str, params: Mapping[str, str]) -> str | None:
        return "400" if product == SERIES[0].product else None

    with StandInExchange(rate=None, faults=refused) as exchange:
        assert not refresh(exchange, instance).success
    stored = [bool(lake.list(RAW_CANDLES.folder(each))) for each in SERIES]
    assert stored == [False, True, True]


def test_steps_of_another_project_ask_for_their_own_series(
    lake: ParquetStore, instance: dg.DagsterInstance, connection_string: str
) -> None:
    """Its executor may start a process for each step."""
    asked = list[tuple[str, int]]()

    def note(number: int, product: str, params: Mapping[str, str]) -> None:
        asked.append((product, len(lake.list("raw_candles/"))))

    with StandInExchange(rate=None, faults=note) as exchange:
        definitions = candle_assets(
            series=[*map(str, SERIES)],
            start=f"{datetime.now(UTC) - DAY:%F}",
            storage=AzureStorageResource(connection_string=connection_string),
            container=os.environ["COINBASE_CONTAINER"],
            exchange=ExchangeResource(api_url=exchange.url, requests_per_second=1000),
        )
        run(definitions.resolve_implicit_global_asset_job_def(), instance)
    first_asked = dict(reversed(asked))
    assert sorted(first_asked.values()) == [0, 1, 2]


@pytest.mark.parametrize(("granularity", "is_asked"), [("1m", False), ("1h", True)])
def test_question_of_several_requests_is_left_to_its_step(
    lake: ParquetStore, granularity: str, is_asked: bool
) -> None:
    today = day_start(f"{datetime.now(UTC):%F}")
    keys = [f"{today - number * DAY:%F}" for number in (3, 2, 1, 0)]
    series = Series.parse(f"ETH-EUR:{granularity}")
    asked = [*live_questions(lake, [series], keys)]
    assert asked == ([(series, today - 3 * DAY, today + DAY)] if is_asked else [])
