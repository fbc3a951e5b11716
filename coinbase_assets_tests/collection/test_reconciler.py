"""Days are compared with coarser candles and requested again: at the stand-in exchange."""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from coinbase_assets.candles.calendar import DAY
from coinbase_assets.candles.day_cutting import cut_days
from coinbase_assets.candles.evidence import Evidence
from coinbase_assets.candles.series import Series
from coinbase_assets.collection.day_updates import DaysToCollect, DayUpdates
from coinbase_assets.collection.reconciler import Reconciled, Reconciler
from coinbase_assets.completeness.weighing import weigh
from coinbase_assets.exchange.resource import BlockingExchange, ExchangeResource
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets.table_metadata import table_fields
from coinbase_assets_tests.stand_in.exchange import StandInExchange
from coinbase_assets_tests.stand_in.faults import Faults
from coinbase_assets_tests.stand_in.markets import ListMarket, Market, Row, SyntheticMarket

START = datetime(2024, 1, 10, tzinfo=UTC)
NOW = datetime(2025, 6, 1, tzinfo=UTC).timestamp()
WHOLE = SyntheticMarket("ETH-EUR", untraded=0.0)
SERIES = Series.parse("ETH-EUR:15m")
QUARTER, HOUR = 900, 3_600
PATH = "raw_candles/product=ETH-EUR/granularity=15m/date=2024-01-10/candles.parquet"


def at(day: int, hour: float = 0) -> int:
    return int((START + timedelta(days=day, hours=hour)).timestamp())


LATE_MORNING = range(at(0, 10), at(0, 13), QUARTER)


@dataclass
class Forgetful:
    """A market whose first `times` answers of a granularity lack the `lost` rows."""

    lost: Collection[int]
    times: float = float("inf")
    granularity: int = QUARTER
    market: Market = WHOLE

    @property
    def listing(self) -> int:
        return self.market.listing

    def candles(self, granularity: int, first: int, last: int, now: float) -> list[Row]:
        rows = list(self.market.candles(granularity, first, last, now))
        left = [row for row in rows if row[0] not in self.lost]
        if granularity != self.granularity or len(left) == len(rows) or not self.times:
            return rows
        self.times -= 1
        return left


@dataclass
class Asked:
    """Reconciled days, and the number of requests for each granularity."""

    days: list[Reconciled]
    requests: Counter[str]

    @property
    def times(self) -> list[int]:
        return [int(time.timestamp()) for day in self.days for time in _times(day)]

    @property
    def evidence(self) -> list[Evidence]:
        return [weigh(found.day, found.witnesses) for found in self.days if found.witnesses]


def _times(reconciled: Reconciled) -> list[datetime]:
    return reconciled.day.candles["time"].to_pylist()


Ask = Callable[..., Asked]


@contextmanager
def connected(
    folder: Path, market: Market, faults: Faults | None = None, now: float = NOW
) -> Iterator[tuple[BlockingExchange, StandInExchange]]:
    """Yield a client, and the stand-in exchange with this market that it asks."""
    with (
        StandInExchange(
            rate=None, clock=lambda: now, markets={"ETH-EUR": market}, faults=faults
        ) as exchange,
        client_of(exchange, folder) as client,
    ):
        yield client, exchange


def requests_of(exchange: StandInExchange) -> Counter[str]:
    seconds = {"300": "5m", "900": "15m", "3600": "1h", "21600": "6h", "86400": "1d"}
    asked = [request.params.get("granularity") for request in exchange.requests]
    return Counter(seconds[granularity] for granularity in asked if granularity)


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    def reconcile(
        market: Market,
        days: int = 1,
        granularity: str = "15m",
        faults: Faults | None = None,
        now: float = NOW,
    ) -> Asked:
        series, end = Series.parse(f"ETH-EUR:{granularity}"), START + days * DAY
        starts = [START + number * DAY for number in range(days)]
        with connected(tmp_path, market, faults, now) as (client, exchange):
            reconciler = Reconciler(client, series, START, end)
            cut = cut_days(client.fetch_candles(series, START, end), series, starts)
            reconciled = [reconciler.reconcile(day, None) for day in cut]
            return Asked(reconciled, requests_of(exchange))

    return reconcile


def answers(kind: str, granularity: int, *numbers: int) -> Faults:
    """Return faults of requests for a granularity: those with these numbers, counted from 0."""
    seen = Counter[str]()

    def fault(number: int, product: str, params: Mapping[str, str]) -> str | None:
        seen[params["granularity"]] += 1
        is_it = params["granularity"] == str(granularity)
        return kind if is_it and seen[str(granularity)] - 1 in numbers else None

    return fault


# Asked again


@pytest.mark.parametrize(
    ("faults", "requests"),
    [
        (answers("middle", QUARTER, 0), 2),
        (answers("middle", QUARTER, 0, 1), 3),
        (answers("empty", QUARTER, 0, 1), 3),
        (answers("empty", QUARTER, 0, 1, 2, 3), 5),
    ],
    ids=["middle lost", "middle lost twice", "empty", "empty once more"],
)
def test_reconcile_asks_again_for_lost_candles(ask: Ask, faults: Faults, requests: int) -> None:
    asked = ask(WHOLE, faults=faults)
    assert asked.times == [*range(at(0), at(1), QUARTER)]
    assert asked.requests == {"15m": requests, "1d": 1, "6h": 1, "1h": 1}
    assert [(found.witness, found.agrees) for found in asked.evidence] == [("", True)]
    assert asked.days[0].day.requests == requests


def test_reconcile_asks_again_for_doubtful_hours_only(tmp_path: Path) -> None:
    market = Forgetful([*LATE_MORNING, at(0, 20), at(0, 20.25)], times=1)
    with connected(tmp_path, market) as (client, exchange):
        (day,) = cut_days(client.fetch_candles(SERIES, START, START + DAY), SERIES, [START])
        exchange.requests.clear()
        Reconciler(client, SERIES, START, START + DAY).reconcile(day, None)
    params = [request.params for request in exchange.requests]
    again = [each for each in params if each["granularity"] == "900"]
    starts = [datetime.fromisoformat(each["start"]) + timedelta(seconds=59) for each in again]
    assert [f"{start:%H:%M}" for start in starts] == ["10:00", "20:00"]
    assert [each["end"][11:16] for each in again] == ["12:45", "20:45"]


def test_reconcile_contradicts_hours_that_never_come(ask: Ask) -> None:
    asked = ask(Forgetful(LATE_MORNING))
    assert len(asked.times) == 96 - 12
    empty_answers_come_twice = 2
    assert asked.requests == {"15m": 1 + 2 * empty_answers_come_twice, "1d": 1, "6h": 1, "1h": 1}
    (evidence,) = asked.evidence
    (proof,) = evidence.proofs
    assert (proof.start, proof.end) == (START + timedelta(hours=10), START + timedelta(hours=13))
    assert (proof.state, proof.witness) == ("unconfirmed", "the 1d candle shows more")
    shown = "coarser candles show more from 10:00 to 11:00, 11:00 to 12:00, 12:00 to 13:00"
    assert evidence.disagreement == shown


def test_reconcile_uses_daily_candle_without_hourly_candles(ask: Ask) -> None:
    asked = ask(Forgetful(LATE_MORNING, times=1), faults=answers("empty", HOUR, 0, 1))
    assert len(asked.times) == 96
    assert asked.requests == {"15m": 2, "1d": 1, "6h": 1, "1h": 2}
    assert [found.agrees for found in asked.evidence] == [True]


def test_reconcile_certifies_nothing_without_coarser_candles(ask: Ask) -> None:
    rows = WHOLE.candles(QUARTER, at(0), at(2) - QUARTER, NOW)
    holey = [row for row in rows if row[0] not in LATE_MORNING]
    asked = ask(ListMarket({QUARTER: holey}), days=3)
    assert asked.times == [row[0] for row in holey]
    states = [{proof.state for proof in found.proofs} for found in asked.evidence]
    assert states == [{"unconfirmed"}, set(), {"unconfirmed"}]


def test_reconcile_day_lost_at_every_level_is_unconfirmed(ask: Ask) -> None:
    rows = {
        seconds: [row for row in WHOLE.candles(seconds, at(0), at(3) - 60, NOW) if not lost(row)]
        for seconds in (QUARTER, HOUR, 21_600, 86_400)
    }
    evidence = ask(ListMarket(rows), days=3).evidence
    assert [found.is_proven for found in evidence] == [True, False, True]


def lost(row: Row) -> bool:
    return at(1) <= row[0] < at(2)


# What it costs


def test_reconcile_without_doubt_needs_one_daily_request(ask: Ask) -> None:
    asked = ask(SyntheticMarket("ETH-EUR", untraded=0.8), 31, "5m")
    assert 0.3 < 1 - len(asked.times) / (31 * 288) < 0.36
    assert asked.requests == {"5m": 30, "1d": 1}
    assert {(found.witness, found.agrees) for found in asked.evidence} == {
        ("the 1d candles agree", True)
    }


def test_reconcile_accepts_halt_confirmed_by_daily_candle(ask: Ask) -> None:
    halt = (START + timedelta(hours=10), START + timedelta(hours=14))
    asked = ask(SyntheticMarket("ETH-EUR", untraded=0.0, halts=[halt]))
    assert len(asked.times) == 96 - 16
    assert asked.requests == {"15m": 1, "1d": 1}
    assert asked.evidence[0].agrees


@pytest.mark.soak
def test_reconcile_daily_request_serves_300_days(ask: Ask) -> None:
    assert ask(WHOLE, 299, "6h").requests == {"6h": 4, "1d": 1}
    assert ask(WHOLE, 300, "6h").requests == {"6h": 4, "1d": 2}


@pytest.mark.parametrize(("days", "requests"), [((1, 11), 1), ((11, 12), 2)])
def test_reconcile_hourly_request_serves_12_days(
    ask: Ask, days: tuple[int, int], requests: int
) -> None:
    lost = [time for day in days for time in range(at(day, 10), at(day, 13), QUARTER)]
    asked = ask(Forgetful(lost, times=2), 14)
    assert (asked.requests["1d"], asked.requests["1h"]) == (1, requests)


def test_reconcile_compares_hourly_series_with_daily_candle(ask: Ask) -> None:
    asked = ask(Forgetful([at(0, 10), at(0, 11)], 1, HOUR), granularity="1h")
    assert asked.times == [*range(at(0), at(1), HOUR)]
    assert asked.requests == {"1h": 2, "1d": 1, "6h": 1}


def test_reconcile_skips_open_day(ask: Ask) -> None:
    asked = ask(Forgetful(LATE_MORNING), days=2, now=at(0, 23.9))
    assert len(asked.times) == 95 - 12
    assert asked.requests == {"15m": 1}
    assert [day.witnesses for day in asked.days] == [None, None]


# Daily series


def test_reconcile_silent_day_of_daily_series_is_unconfirmed(ask: Ask) -> None:
    silent = ListMarket({86_400: [row for row in daily_rows(10) if row[0] != at(4)]})
    asked = ask(silent, 10, "1d")
    assert len(asked.times) == 9
    assert [found.is_proven for found in asked.evidence] == [True] * 4 + [False] + [True] * 5


def test_reconcile_asks_again_for_lost_daily_candle(ask: Ask) -> None:
    asked = ask(Forgetful([at(4)], 1, 86_400), 10, "1d")
    assert asked.times == [at(day) for day in range(10)]
    assert asked.requests == {"1d": 3, "6h": 1}


def daily_rows(days: int) -> list[list[float]]:
    return WHOLE.candles(86_400, at(0), at(days - 1), NOW)


# Candles stored before


Collect = Callable[..., Mapping[str, str]]


@pytest.fixture
def collect(tmp_path: Path, lake: ParquetStore) -> Collect:
    """Collects the day START; returns its stored fields, and as `asked` its number of requests."""

    def day(market: Market, now: float = NOW, series: Series = SERIES) -> Mapping[str, str]:
        with connected(tmp_path, market, now=now) as (client, exchange):
            fields = store_day(lake, client, series)
            return {**fields, "asked": str(requests_of(exchange)[series.granularity])}

    return day


def outcome(fields: Mapping[str, str]) -> tuple[int, ...]:
    names = ("asked", "candles_unanswered", "candles_vanished", "missing_buckets")
    return tuple(int(fields[name]) for name in names)


THREE = range(at(0, 10), at(0, 10.75), QUARTER)


def test_update_restores_candles_lost_in_one_answer(collect: Collect) -> None:
    collect(WHOLE)
    assert outcome(collect(Forgetful(THREE, times=1), NOW + 9)) == (2, 0, 0, 0)


def test_update_keeps_candles_in_coarser_candles(collect: Collect, lake: ParquetStore) -> None:
    collect(WHOLE)
    fields = collect(Forgetful(THREE), NOW + 9)
    assert outcome(fields) == (3, 3, 0, 0)
    assert (fields["disagreement"], fields["proofs"]) == ("", "")
    assert lake.list("candle_revisions/") == {}


def test_update_drops_candles_disproved_by_coarser_candles(
    collect: Collect, lake: ParquetStore
) -> None:
    collect(WHOLE)
    halt = (START + timedelta(hours=10), START + timedelta(hours=10, minutes=45))
    assert outcome(collect(replace(WHOLE, halts=[halt]), NOW + 9)) == (1, 0, 3, 3)
    (path,) = lake.list("candle_revisions/")
    gone = lake.get(path)
    assert [int(time.timestamp()) for time in gone["time"].to_pylist()] == [*THREE]
    assert set(gone["change"].to_pylist()) == {"vanished"}


def test_update_keeps_stored_daily_candle(collect: Collect) -> None:
    collect_days = partial(collect, series=Series.parse("ETH-EUR:1d"))
    collect_days(WHOLE)
    fields = collect_days(Forgetful([at(0)], granularity=86_400), NOW + 9)
    assert (fields["candles_unanswered"], fields["candles_vanished"]) == ("1", "0")
    assert fields["missing_buckets"] == "0"


# Wrong answers


@dataclass
class HalfAtFirst:
    """A market whose first answer has half of the volumes."""

    market: Market = WHOLE
    asked: int = 0

    @property
    def listing(self) -> int:
        return self.market.listing

    def candles(self, granularity: int, first: int, last: int, now: float) -> list[Row]:
        self.asked += 1
        factor = 0.5 if self.asked == 1 else 1.0
        rows = self.market.candles(granularity, first, last, now)
        return [[*row[:5], row[5] * factor] for row in rows]


def test_update_wrong_date_settles_nothing_and_never_wins(
    tmp_path: Path, lake: ParquetStore
) -> None:
    """The first answer is dated two days ahead, when the day is over for an hour."""
    times = iter([at(1, 1) + 2 * 86_400])
    market = HalfAtFirst()
    found: list[Mapping[str, str]] = []
    with StandInExchange(
        rate=None, clock=lambda: next(times, at(1, 1)), markets={"ETH-EUR": market}
    ) as exchange:
        for _ in range(2):
            with client_of(exchange, tmp_path) as client:
                found.append(store_day(lake, client))
    assert [fields["settled"] for fields in found] == ["false", "false"]
    assert found[1]["refreshed_at"] == "2024-01-11T01:00:00Z"
    assert int(found[1]["version"]) > int(found[0]["version"])
    volumes = [row[5] for row in WHOLE.candles(QUARTER, at(0), at(1) - QUARTER, NOW)]
    assert lake.get(PATH)["volume"].to_pylist() == volumes


def test_reconcile_rows_before_window_prove_nothing(tmp_path: Path) -> None:
    before = ListMarket({QUARTER: WHOLE.candles(QUARTER, at(-1), at(0) - QUARTER, NOW)})
    with (
        StandInExchange(
            rate=None, clock=lambda: NOW, markets={"ETH-EUR": before}, early_rows=10
        ) as exchange,
        client_of(exchange, tmp_path) as client,
    ):
        (day,) = cut_days(client.fetch_candles(SERIES, START, START + DAY), SERIES, [START])
        found = Reconciler(client, SERIES, START, START + DAY).reconcile(day, None)
    assert found.witnesses
    assert not weigh(found.day, found.witnesses).is_proven


def client_of(exchange: StandInExchange, folder: Path) -> AbstractContextManager[BlockingExchange]:
    return ExchangeResource(
        api_url=exchange.url,
        requests_per_second=1000,
        give_up_after=10,
        budget_path=str(folder / "budget.sqlite"),
    ).get_client()


def store_day(
    lake: ParquetStore, client: BlockingExchange, series: Series = SERIES
) -> Mapping[str, str]:
    """Collect the day START and store it; return its fields."""
    path = PATH.replace("15m", series.granularity)
    stored = lake.find([path]).get(path)
    found = {"2024-01-10": stored} if stored else {}
    plan = DaysToCollect(series, ["2024-01-10"], found, {}, {}, live=False)
    ((_, update),) = DayUpdates(plan, lake, "", logging.getLogger()).updates(nullcontext(client))
    table = update(stored)
    assert table is not None
    lake.put(path, table, stored)
    return table_fields(table)
