"""The search for a product's first day: the search alone, and at the stand-in exchange."""

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from coinbase_assets.candles.windows import Window
from coinbase_assets.collection.listing_search import FLOOR, Listing, fetch_listing, find_listing
from coinbase_assets.exchange.errors import ProductNotFound
from coinbase_assets.exchange.resource import ExchangeResource
from coinbase_assets_tests.stand_in.exchange import StandInExchange
from coinbase_assets_tests.stand_in.faults import Faults
from coinbase_assets_tests.stand_in.markets import ListMarket, Market, synthetic_markets

DAY = timedelta(days=1)
TODAY = date(2026, 3, 15)
FIRST = FLOOR.date()
MOST_REQUESTS = 16

Span = tuple[date, date]


class Exchange:
    """Answers the search for a product that is traded in these spans of days (both inclusive)."""

    def __init__(self, *spans: Span) -> None:
        self.spans = spans
        self.requests = 0

    def __call__(self, window: Window, confirm: bool) -> date | None:
        assert DAY <= window.end - window.start <= 300 * DAY
        start, last = window.start.date(), window.end.date() - DAY
        for first, end in self.spans:
            if max(first, start) <= min(end, last):
                self.requests += 1
                return max(first, start)
        self.requests += 2 if confirm else 1
        return None


@pytest.mark.parametrize("today", [TODAY, date(2037, 12, 31)])
def test_find_listing_needs_at_most_14_requests(today: date) -> None:
    for days in range(0, (today - FIRST).days + 1, 7):
        exchange = Exchange((FIRST + days * DAY, today))
        assert find_listing(exchange, today) == FIRST + days * DAY
        assert exchange.requests <= 14


@pytest.mark.parametrize("first", [TODAY - n * DAY for n in (0, 1, 298, 299, 300, 301, 599, 600)])
def test_find_listing_at_window_edges(first: date) -> None:
    assert find_listing(Exchange((first, TODAY)), TODAY) == first


@pytest.mark.parametrize("life", [1, 30, 300, 1000, 2000])
def test_find_listing_of_delisted_product(life: int) -> None:
    for days in range(0, (TODAY - FIRST).days - life, 50):
        exchange = Exchange((FIRST + days * DAY, FIRST + (days + life - 1) * DAY))
        assert find_listing(exchange, TODAY) == FIRST + days * DAY
        assert exchange.requests <= 27


@pytest.mark.parametrize("silence", [300, 599, 905, 1199])
def test_find_listing_before_long_silence(silence: int) -> None:
    for days in range(0, (TODAY - FIRST).days - silence - 100, 50):
        first = FIRST + days * DAY
        last = first + 99 * DAY
        exchange = Exchange((first, last), (last + (silence + 1) * DAY, TODAY))
        assert find_listing(exchange, TODAY) == first
        assert exchange.requests <= 27


def test_find_listing_of_untraded_product() -> None:
    exchange = Exchange()
    assert find_listing(exchange, TODAY) is None
    assert exchange.requests == 3 * 18  # each window once, and again with confirmation


# At the exchange


Find = Callable[..., tuple[Listing, StandInExchange]]


@pytest.fixture
def find(tmp_path: Path) -> Find:
    def listing(
        market: Market, faults: Faults | None = None, product: str = "A-B"
    ) -> tuple[Listing, StandInExchange]:
        noon = datetime(TODAY.year, TODAY.month, TODAY.day, 12, tzinfo=UTC).timestamp()
        markets = {"A-B": market}
        with StandInExchange(
            rate=None, clock=lambda: noon, markets=markets, faults=faults
        ) as exchange:
            resource = ExchangeResource(
                api_url=exchange.url,
                requests_per_second=1000,
                give_up_after=10,
                budget_path=str(tmp_path / "budget.sqlite"),
            )
            with resource.get_client() as client:
                return fetch_listing(client, product, TODAY), exchange

    return listing


def daily(first: date, last: date = TODAY) -> ListMarket:
    start = datetime(first.year, first.month, first.day, tzinfo=UTC)
    days = (last - first).days + 1
    times = [int((start + n * DAY).timestamp()) for n in range(days)]
    return ListMarket({86_400: [[time, 1.0, 4.0, 2.0, 3.0, 5.5] for time in times]})


@pytest.mark.parametrize(
    ("product", "first"),
    [("ETH-USD", date(2016, 5, 18)), ("SOL-USD", date(2021, 6, 17)), ("BTC-USD", date(2015, 1, 8))],
)
def test_fetch_listing_finds_first_day(find: Find, product: str, first: date) -> None:
    listing, exchange = find(synthetic_markets([product])[product])
    assert listing == Listing(first, len(exchange.requests))
    assert listing.requests <= MOST_REQUESTS
    assert {request.params["granularity"] for request in exchange.requests} == {"86400"}


@pytest.mark.parametrize("days_ago", [1, 2, 299, 300, 1000])
def test_fetch_listing_of_young_product(find: Find, days_ago: int) -> None:
    listing, exchange = find(daily(TODAY - days_ago * DAY))
    assert listing.day == TODAY - days_ago * DAY
    assert listing.requests == len(exchange.requests) <= MOST_REQUESTS


def test_fetch_listing_ignores_today(find: Find) -> None:
    assert find(daily(TODAY))[0].day is None


def test_fetch_listing_of_delisted_product(find: Find) -> None:
    listing, exchange = find(daily(date(2019, 2, 26), date(2021, 1, 18)))
    assert listing == Listing(date(2019, 2, 26), len(exchange.requests))


def test_fetch_listing_of_untraded_product_asks_three_times(find: Find) -> None:
    listing, exchange = find(ListMarket({}))
    windows = Counter(request.params["end"][:10] for request in exchange.requests)
    assert listing == Listing(None, 54)
    assert windows == dict.fromkeys(windows, 3)


def first_answers_empty() -> Faults:
    """Return faults: the first answer for each window is empty."""
    denied = set()

    def fault(number: int, product: str, params: Mapping[str, str]) -> str | None:
        window = params["end"][:10]
        if window in denied:
            return None
        denied.add(window)
        return "empty"

    return fault


@pytest.mark.soak
def test_fetch_listing_survives_spurious_empty_answer(find: Find) -> None:
    right = date(2018, 5, 3)
    assert find(daily(right), first_answers_empty())[0].day == right
    for nth in range(12):
        faults = lambda number, *_, nth=nth: "empty" if number == nth else None  # noqa: E731
        listing, exchange = find(daily(right), faults)
        assert listing == Listing(right, len(exchange.requests))


def test_fetch_listing_confirms_empty_windows(find: Find) -> None:
    """Two requests get an empty answer for the window that holds the first day."""
    right = date(2018, 5, 3)
    denied: list[str] = []

    def faults(number: int, product: str, params: Mapping[str, str]) -> str | None:
        start, end = (datetime.fromisoformat(params[name]).date() for name in ("start", "end"))
        if not start < right <= end or len(denied) == 2:
            return None
        denied.append(params["end"])
        return "empty"

    assert find(daily(right), faults)[0].day == right
    assert len(denied) == 2


def test_fetch_listing_refuses_unknown_product(find: Find) -> None:
    with pytest.raises(ProductNotFound, match="NO-SUCH"):
        find(daily(TODAY), product="NO-SUCH")
