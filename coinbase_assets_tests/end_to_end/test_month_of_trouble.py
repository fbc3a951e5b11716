"""A month with every kind of trouble, collected as a user would: the ledger must be right."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest

from coinbase_assets.automation.collector import Collector
from coinbase_assets.automation.healing import plan_healing
from coinbase_assets.candles.calendar import DAY
from coinbase_assets.candles.days import Day
from coinbase_assets.candles.parsing import parse_candles
from coinbase_assets.candles.series import Series
from coinbase_assets.candles.table import clip_candles, merge_candles
from coinbase_assets.completeness.ledger import State
from coinbase_assets.lake.status import series_status
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.running import asset_job, settings_for
from coinbase_assets_tests.stand_in.exchange import StandInExchange
from coinbase_assets_tests.stand_in.markets import SyntheticMarket

START, END = datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 4, 1, tzinfo=UTC)
DAYS = [f"{START + n * DAY:%F}" for n in range(31)]


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2024-03-{text}").replace(tzinfo=UTC)


HALT = (at("16T17:00"), at("16T21:37"))  # 277 minutes
LISTED, DELISTED = at("12T09:31"), at("20T18:07")


def market(product: str, untraded: float, **facts: object) -> SyntheticMarket:
    return SyntheticMarket(product, untraded=untraded, halts=[HALT], **facts)  # type: ignore[arg-type]


MARKETS = {
    "QUIET-USD:1m": market("QUIET-USD", 0.35),
    "LIQUID-USD:1m": market("LIQUID-USD", 0.004, revised=0.01),
    "NEW-USD:5m": market("NEW-USD", 0.3, listing=int(LISTED.timestamp())),
    "OLD-USD:15m": market("OLD-USD", 0.3, delisted=DELISTED),
}
SERIES = [Series.parse(name) for name in MARKETS]
QUIET, LIQUID, NEW, OLD = SERIES

# The states of buckets without a candle, by interval. Outside the intervals it is no_trades.
HOLES: Mapping[Series, Sequence[tuple[datetime, datetime, State]]] = {
    QUIET: [],
    LIQUID: [],
    NEW: [(START, at("12T09:30"), State.BEFORE_LISTING)],
    OLD: [(at("20T18:15"), END, State.AFTER_DELISTING)],
}
# The windows that get wrong answers, by their start: the fault, and how many times.
WRONG = {
    ("LIQUID-USD", "60", at("06T00:00")): ("empty", 2),
    ("QUIET-USD", "60", at("08T16:00")): ("middle", 1),
    ("OLD-USD", "900", at("07T06:00")): ("middle", 1),
    ("QUIET-USD", "86400", at("01T00:00") - DAY): ("empty", 1),
}
FROZEN = at("25T23:59")


class Troubles:
    """The faults of WRONG, each as many times as listed."""

    def __init__(self) -> None:
        self.done: Counter[tuple[str, str, datetime]] = Counter()

    def __call__(self, number: int, product: str, params: Mapping[str, str]) -> str | None:
        if "start" not in params:
            return None
        # The client shifts requests by up to 30 seconds, so that no cache answers.
        start = datetime.fromisoformat(params["start"]) + timedelta(seconds=30)
        key = (product, params["granularity"], start.replace(second=0))
        fault, times = WRONG.get(key, ("", 0))
        self.done[key] += 1
        return fault if self.done[key] <= times else None


class Clock:
    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now.timestamp()


@pytest.fixture
def clock() -> Clock:
    return Clock(at("12T01:00"))


@pytest.fixture
def exchange(clock: Clock) -> Iterator[StandInExchange]:
    markets = {series.product: MARKETS[str(series)] for series in SERIES}
    with StandInExchange(
        rate=None, clock=clock, markets=markets, delisted={"OLD-USD"}, faults=Troubles()
    ) as exchange:
        yield exchange


def truth(series: Series, start: datetime = START, end: datetime = END) -> pa.Table:
    """Return the candles in the exchange's final version."""
    step = series.granularity.seconds
    first, last = int(start.timestamp()), int(end.timestamp()) - step
    rows: list[object] = []
    rows += MARKETS[str(series)].candles(step, first, last, END.timestamp() + 10 * 86_400)
    return parse_candles(rows, series.granularity, start, end)


def frozen_day() -> Day:
    """Return the 25th, stored by a collector that took its last minute as closed too early."""
    start = FROZEN.replace(hour=0, minute=0)
    candles = truth(LIQUID, start, start + DAY)
    whole = clip_candles(candles, FROZEN, FROZEN + DAY)
    partial = whole.set_column(5, whole.schema.field("volume"), [[0.001]])
    asked = start + DAY + timedelta(seconds=1)
    return Day(LIQUID, start, merge_candles(candles, partial), asked, asked, start, start + DAY, 5)


def expected_states(series: Series) -> list[State]:
    step = series.granularity.delta
    traded = set(truth(series)["time"].to_pylist())
    states = []
    for number in range((END - START) // step):
        time = START + number * step
        why = [state for first, end, state in HOLES[series] if first <= time < end]
        states.append(State.TRADED if time in traded else (why or [State.NO_TRADES])[0])
    return states


def ledger(lake: ParquetStore, series: Series) -> pa.Table:
    folder = f"candle_coverage/product={series.product}/granularity={series.granularity}"
    return lake.get(f"{folder}/month=2024-03/coverage.parquet")


def states(ledger: pa.Table) -> list[State]:
    rows = ledger.to_pylist()
    return [State(row["state"]) for row in rows for _ in range(row["buckets"])]


def history(lake: ParquetStore, series: Series) -> pa.Table:
    folder = f"candle_history/product={series.product}/granularity={series.granularity}"
    return lake.get(f"{folder}/month=2024-03/candles.parquet")


def revisions(lake: ParquetStore) -> pa.Table:
    tables = [lake.get(path) for path in lake.list("candle_revisions/")]
    return pa.concat_tables([table.replace_schema_metadata(None) for table in tables])


@pytest.mark.soak
def test_ledger_of_month_of_trouble(
    lake: ParquetStore, instance: dg.DagsterInstance, exchange: StandInExchange, clock: Clock
) -> None:
    settings = settings_for(exchange.url, *MARKETS)
    collector = Collector(asset_job(settings), instance, lake)
    collector.collect(collector.plan(LIQUID, ["2024-03-10", "2024-03-11"]))
    young = history(lake, LIQUID)
    frozen = frozen_day()
    path = "raw_candles/product=LIQUID-USD/granularity=1m/date=2024-03-25/candles.parquet"
    lake.put(path, frozen.to_table(exchange.url), None)

    clock.now = END + 3 * DAY
    for series in SERIES:
        outcome = collector.collect(collector.plan(series, DAYS))
        assert (outcome.error, outcome.missing) == (None, [])

    for series in SERIES:
        assert states(ledger(lake, series)) == expected_states(series), series
        assert history(lake, series).equals(truth(series)), series
    assert {fault.fault for fault in exchange.requests} == {"", "empty", "middle"}

    changed = revisions(lake)
    revised = clip_candles(truth(LIQUID), at("10T00:00"), at("12T00:00"))
    differ = np.array(revised["volume"]) != np.array(young["volume"])
    assert differ.sum() > 0
    assert changed["change"].to_pylist() == ["changed"] * (differ.sum() + 1)
    assert changed["time"].to_pylist() == [
        *revised.filter(pa.array(differ))["time"].to_pylist(),
        FROZEN,
    ]
    assert changed["old_volume"].to_pylist()[-1] == 0.001

    (halt,) = lake.get("market_halts/month=2024-03/halts.parquet").to_pylist()
    assert (halt["start"], halt["end"]) == HALT
    assert halt["series"] == "LIQUID-USD:1m, NEW-USD:5m, OLD-USD:15m, QUIET-USD:1m"

    assert plan_healing(collector, SERIES, date(2024, 4, 4)) == []
    for series in SERIES:
        status = series_status(lake, series, date(2024, 4, 4))
        assert (status.complete, status.explained) == (True, 1.0)
        assert status.settled_through == date(2024, 3, 31)
        assert status.disagreements == {}
