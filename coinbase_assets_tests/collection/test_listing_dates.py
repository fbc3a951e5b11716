"""When products were traded: found out from the stand-in exchange and stored in Azurite."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from coinbase_assets.candles.calendar import DAY
from coinbase_assets.candles.evidence import Lifetime
from coinbase_assets.candles.series import Series
from coinbase_assets.collection.day_updates import DaysToCollect, DayUpdates
from coinbase_assets.collection.listing_dates import Lifetimes
from coinbase_assets.collection.listing_search import fetch_last_day
from coinbase_assets.exchange.resource import ExchangeResource
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.stand_in.exchange import StandInExchange
from coinbase_assets_tests.stand_in.markets import FOREVER, ListMarket, Market, SyntheticMarket

NOW = datetime(2024, 2, 20, 12, tzinfo=UTC)
PRODUCT = "ETH-EUR"
PATH = "listings/product=ETH-EUR/listing.parquet"
CATALOGUE = "catalogue"


def market(
    listed: datetime = datetime(2018, 5, 3, 9, 30, tzinfo=UTC),
    delisted: datetime = FOREVER,
    silent: tuple[int, ...] = (),
) -> SyntheticMarket:
    """Return a market that trades every minute, except on the `silent` days of January 2024."""
    days = [datetime(2024, 1, number, tzinfo=UTC) for number in silent]
    halts = [(day, day + DAY) for day in days]
    listing = int(listed.timestamp())
    return SyntheticMarket(PRODUCT, listing, untraded=0.0, halts=halts, delisted=delisted)


LISTED = datetime(2024, 1, 10, 6, 30, tzinfo=UTC)
DELISTED = datetime(2024, 1, 17, 16, 0, tzinfo=UTC)


Collect = Callable[..., Counter[str]]


@pytest.fixture
def collect(tmp_path: Path, lake: ParquetStore) -> Collect:
    """Collects days of January 2024; returns the number of requests for each granularity.

    Requests for the list of products count as CATALOGUE. The days are not stored, because the
    lifetimes do not depend on that.
    """

    def days(
        traded: Market,
        first: int,
        last: int,
        delisted: bool = False,
        live: bool = False,
        granularity: str = "1h",
        now: datetime = NOW,
    ) -> Counter[str]:
        keys = [f"2024-01-{number:02}" for number in range(first, last + 1)]
        plan = DaysToCollect(Series.parse(f"{PRODUCT}:{granularity}"), keys, {}, {}, {}, live)
        with StandInExchange(
            rate=None,
            clock=now.timestamp,
            markets={PRODUCT: traded},
            delisted=[PRODUCT] if delisted else [],
        ) as exchange:
            with resource(exchange, tmp_path).get_client() as client:
                updates = DayUpdates(plan, lake, exchange.url, logging.getLogger())
                list(updates.updates(nullcontext(client)))
            return Counter(
                request.params.get("granularity", CATALOGUE)
                for request in exchange.requests
                if request.path == "/products" or request.path.endswith("/candles")
            )

    return days


def resource(exchange: StandInExchange, folder: Path) -> ExchangeResource:
    return ExchangeResource(
        api_url=exchange.url,
        requests_per_second=1000,
        give_up_after=10,
        budget_path=str(folder / "budget.sqlite"),
    )


def known(lake: ParquetStore) -> tuple[date | None, date | None]:
    lifetimes = Lifetimes(lake).get(PRODUCT)
    return lifetimes[0].first_day, lifetimes[-1].last_day


# The first day


def test_learn_listing_stores_first_day_once(collect: Collect, lake: ParquetStore) -> None:
    asked = collect(market(LISTED), 1, 15)
    assert known(lake) == (LISTED.date(), None)
    assert 5 < asked["86400"] <= 1 + 27
    assert lake.get(PATH).to_pylist() == [
        {"first_day": LISTED.date(), "last_day": None, "asked_at": NOW, "closed_at": None}
    ]
    assert lake.find([PATH])[PATH].fields["product"] == PRODUCT
    again = collect(market(LISTED), 1, 15, granularity="15m", now=NOW + 30 * DAY)
    assert again["86400"] == 1
    assert Lifetimes(lake).get(PRODUCT) == [Lifetime(LISTED.date(), asked_at=NOW)]


def test_lifetimes_are_empty_for_unknown_product(lake: ParquetStore) -> None:
    assert Lifetimes(lake).get("NO-SUCH") == [Lifetime()]


def test_lifetimes_are_read_once(collect: Collect, lake: ParquetStore) -> None:
    lifetimes = Lifetimes(lake)
    assert lifetimes.get(PRODUCT) == [Lifetime()]
    collect(market(LISTED), 10, 10)
    assert lifetimes.get(PRODUCT) == [Lifetime()]
    assert Lifetimes(lake).get(PRODUCT) != [Lifetime()]


def test_learn_listing_on_listing_day(collect: Collect, lake: ParquetStore) -> None:
    collect(market(LISTED), 10, 10)
    assert known(lake) == (LISTED.date(), None)


@pytest.mark.parametrize(
    ("first", "silent"),
    [(5, ()), (5, (5,)), (5, (7, 8, 9)), (5, (5, 9))],
    ids=["never silent", "first day silent", "silent later", "silent twice"],
)
def test_learn_listing_skips_product_traded_before(
    collect: Collect, lake: ParquetStore, first: int, silent: tuple[int, ...]
) -> None:
    asked = collect(market(silent=silent), first, 12)
    assert known(lake) == (None, None)
    assert asked["86400"] == 1
    assert lake.list("listings/") == {}


def test_learn_listing_of_thin_product(collect: Collect, lake: ParquetStore) -> None:
    collect(market(silent=(4, 5)), 5, 8)
    assert known(lake) == (date(2018, 5, 3), None)


@pytest.mark.parametrize("delisted", [False, True])
def test_learn_listing_of_untraded_product_asks_once_a_day(
    collect: Collect, lake: ParquetStore, delisted: bool
) -> None:
    after = [timedelta(0), DAY - timedelta(seconds=1), DAY]
    asked = [collect(ListMarket({}), 1, 3, delisted, now=NOW + time) for time in after]
    assert [requests["86400"] > 2 for requests in asked] == [True, False, True]
    assert [requests[CATALOGUE] for requests in asked] == [0, 0, 0]
    collect(market(LISTED), 1, 12, now=NOW + 2 * DAY)
    assert known(lake) == (LISTED.date(), None)


def test_learn_listing_skips_live_refresh(collect: Collect, lake: ParquetStore) -> None:
    asked = collect(market(LISTED), 9, 10, live=True)
    assert set(asked) == {"3600"}
    assert lake.list("listings/") == {}


def test_learn_listing_skips_open_day(collect: Collect, lake: ParquetStore) -> None:
    asked = collect(market(LISTED), 10, 10, now=LISTED + timedelta(hours=9))
    assert asked == {"3600": 1}
    assert lake.list("listings/") == {}


# The last day


def test_learn_delisting_stores_last_day(collect: Collect, lake: ParquetStore) -> None:
    asked = collect(market(delisted=DELISTED), 15, 25, delisted=True)
    assert known(lake) == (None, DELISTED.date())
    assert asked[CATALOGUE] == 1
    assert asked["86400"] == 1 + 1
    again = collect(market(delisted=DELISTED), 15, 25, delisted=True)
    assert (again[CATALOGUE], again["86400"]) == (0, 1)


def test_learn_listing_and_delisting_in_one_month(collect: Collect, lake: ParquetStore) -> None:
    collect(market(LISTED, DELISTED), 1, 25, delisted=True)
    assert known(lake) == (LISTED.date(), DELISTED.date())


def test_learn_listing_after_delisting(collect: Collect, lake: ParquetStore) -> None:
    collect(market(LISTED, DELISTED), 15, 25, delisted=True)
    collect(market(LISTED, DELISTED), 1, 14, delisted=True)
    assert known(lake) == (LISTED.date(), DELISTED.date())


def test_learn_listing_keeps_delisting_stored_meanwhile(
    tmp_path: Path, collect: Collect, lake: ParquetStore
) -> None:
    traded = market(LISTED, DELISTED)

    def meanwhile(number: int, product: str, params: Mapping[str, str]) -> None:
        if number == 0:
            collect(traded, 17, 18, delisted=True)

    with (
        StandInExchange(
            rate=None, clock=NOW.timestamp, markets={PRODUCT: traded}, faults=meanwhile
        ) as exchange,
        resource(exchange, tmp_path).get_client() as client,
    ):
        Lifetimes(lake).learn_listing(client, PRODUCT, NOW)
    assert known(lake) == (LISTED.date(), DELISTED.date())


@pytest.mark.parametrize("first", [18, 19, 25])
def test_learn_delisting_from_days_after_last(
    collect: Collect, lake: ParquetStore, first: int
) -> None:
    collect(market(delisted=DELISTED), first, 26, delisted=True)
    assert known(lake)[1] == DELISTED.date()


def test_learn_delisting_skips_listed_product(collect: Collect, lake: ParquetStore) -> None:
    asked = collect(market(silent=(7, 8, 9, 11, 13)), 5, 14)
    assert known(lake) == (None, None)
    assert asked[CATALOGUE] == 1


def test_learn_delisting_of_product_delisted_later(collect: Collect, lake: ParquetStore) -> None:
    collect(market(delisted=DELISTED), 15, 19)
    assert known(lake) == (None, None)
    collect(market(delisted=DELISTED), 20, 20, delisted=True)
    assert known(lake)[1] == DELISTED.date()


def test_learn_delisting_of_product_missing_from_catalogue(
    tmp_path: Path, lake: ParquetStore
) -> None:
    """Its candles are still answered, but the list of products does not have it."""
    markets = {PRODUCT: market(delisted=DELISTED), "BTC-USD": market()}
    with (
        StandInExchange(rate=None, clock=NOW.timestamp, markets=markets) as exchange,
        resource(exchange, tmp_path).get_client() as client,
    ):
        silent = Lifetimes(lake)
        silent.learn_delisting(client, PRODUCT, date(2024, 1, 20), NOW)
        assert known(lake) == (None, None)
        exchange.unlisted.add(PRODUCT)
        Lifetimes(lake).learn_delisting(client, PRODUCT, date(2024, 1, 20), NOW)
    assert Lifetimes(lake).get(PRODUCT) == [Lifetime(None, DELISTED.date(), None, NOW)]


def test_learn_delisting_again_extends_the_evidence(collect: Collect, lake: ParquetStore) -> None:
    for later in (timedelta(0), 3 * DAY):
        collect(market(delisted=DELISTED), 16, 18, delisted=True, now=NOW + later)
    silent = market(delisted=DELISTED)
    assert Lifetimes(lake).get(PRODUCT)[0].closed_at == NOW
    collect(silent, 21, 22, delisted=True, now=NOW - 15 * DAY)
    assert Lifetimes(lake).get(PRODUCT)[0].closed_at == NOW


# Listed again


RELISTED = datetime(2024, 1, 24, 9, 0, tzinfo=UTC)


def relisted(again: datetime = FOREVER) -> SyntheticMarket:
    """Return a market that was delisted, listed again and perhaps delisted again."""
    listing = int(datetime(2018, 5, 3, tzinfo=UTC).timestamp())
    pause = [(DELISTED, RELISTED)]
    return SyntheticMarket(PRODUCT, listing, untraded=0.0, halts=pause, delisted=again)


def test_learn_trade_after_delisting_begins_another_lifetime(
    collect: Collect, lake: ParquetStore
) -> None:
    asked_at = datetime(2024, 1, 20, 12, tzinfo=UTC)
    collect(relisted(), 16, 18, delisted=True, now=asked_at)
    collect(relisted(), 25, 26)
    assert Lifetimes(lake).get(PRODUCT) == [
        Lifetime(None, DELISTED.date(), None, asked_at),
        Lifetime(date(2024, 1, 25)),
    ]
    collect(relisted(), 23, 24)
    assert Lifetimes(lake).get(PRODUCT)[1] == Lifetime(RELISTED.date())


def test_learn_delisting_of_product_listed_again_keeps_both_lifetimes(
    collect: Collect, lake: ParquetStore
) -> None:
    asked_at = datetime(2024, 1, 20, 12, tzinfo=UTC)
    collect(relisted(), 16, 18, delisted=True, now=asked_at)
    collect(relisted(again=RELISTED + DAY), 26, 27, delisted=True)
    assert Lifetimes(lake).get(PRODUCT) == [
        Lifetime(None, DELISTED.date(), None, asked_at),
        Lifetime(date(2024, 1, 25), date(2024, 1, 25), None, NOW),
    ]


def test_learn_trade_corrects_days_that_a_candle_contradicts(
    collect: Collect, lake: ParquetStore
) -> None:
    collect(market(LISTED, DELISTED), 8, 18, delisted=True)
    collect(market(), 8, 8)
    collect(market(), 19, 19)
    assert known(lake) == (date(2024, 1, 8), date(2024, 1, 19))
    assert len(Lifetimes(lake).get(PRODUCT)) == 1


def test_lifetimes_of_earlier_versions_are_read(lake: ParquetStore) -> None:
    row = {"first_day": LISTED.date(), "last_day": DELISTED.date(), "asked_at": NOW}
    lake.put(PATH, pa.Table.from_pylist([row]), None)
    assert Lifetimes(lake).get(PRODUCT) == [Lifetime(LISTED.date(), DELISTED.date(), NOW, NOW)]


@pytest.mark.parametrize(
    ("last", "requests"),
    [(NOW.date() - DAY, 1), (NOW.date() - 299 * DAY, 1), (NOW.date() - 300 * DAY, 3), (None, 30)],
)
def test_fetch_last_day_asks_window_by_window(
    tmp_path: Path, last: date | None, requests: int
) -> None:
    days = [datetime(2023, 1, 1, tzinfo=UTC) + number * DAY for number in range(500)]
    rows = [
        [int(day.timestamp()), 1.0, 4.0, 2.0, 3.0, 5.5]
        for day in days
        if last and day.date() <= last
    ]
    with StandInExchange(
        rate=None, clock=NOW.timestamp, markets={PRODUCT: ListMarket({86_400: rows})}
    ) as exchange:
        with resource(exchange, tmp_path).get_client() as client:
            assert fetch_last_day(client, PRODUCT, NOW.date()) == last
        assert len(exchange.requests) == requests
