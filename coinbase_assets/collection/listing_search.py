"""The days of a product's first and last trade.

The exchange does not publish these days, so they are searched for in its daily candles.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import NamedTuple

from coinbase_assets.candles.calendar import DAY
from coinbase_assets.candles.series import Granularity, Series
from coinbase_assets.candles.windows import MAX_CANDLES, Window, request_windows
from coinbase_assets.exchange.resource import BlockingExchange

# The exchange was founded later than this.
FLOOR = datetime(2012, 1, 1, tzinfo=UTC)
# Windows in a row without a trade that the search allows for in the middle of a product's life.
_SILENT_WINDOWS = 3
# To find any window with a trade, every 8th window is asked first, then every 4th, and so on.
_STRIDE = 8

# Returns the day of the first daily candle in a window of at most 300 UTC days, or None. If the
# second argument is True, an empty answer is confirmed by a second request.
FirstCandleOf = Callable[[Window, bool], date | None]


@dataclass(frozen=True)
class Listing:
    """The UTC day of a product's first trade, None if there was no trade.

    `requests` is the number of requests that were sent to find it.
    """

    day: date | None
    requests: int


class _Traded(NamedTuple):
    """A window with a candle: its place in the list of windows, and the first candle's day."""

    place: int
    day: date


def fetch_listing(exchange: BlockingExchange, product: str, today: date) -> Listing:
    """Find the day of a product's first trade by asking the exchange for daily candles.

    Only closed days count: a product first traded `today` (UTC) has no first day yet. See
    find_listing for the assumption.

    Until 2038, failures aside, at most 14 requests are sent for a product that is traded all the
    time, 27 for a product that stopped or paused for 300 days or more, and 57 for a product that
    was never traded (three for each window).
    Raises ExchangeError: ProductNotFound if the exchange does not know the product.
    """
    series, sent = Series(product, Granularity.ONE_DAY), []

    def first_candle_of(window: Window, confirm: bool) -> date | None:
        (answer,) = exchange.fetch_candles(series, window.start, window.end, confirm_empty=confirm)
        sent.append(answer.requests)
        return answer.candles["time"][0].as_py().date() if answer.candles.num_rows else None

    day = find_listing(first_candle_of, today)
    return Listing(day, sum(sent))


def fetch_last_day(exchange: BlockingExchange, product: str, today: date) -> date | None:
    """Return the UTC day of a product's last trade up to `today`, None if there was no trade.

    Sends one request, and two more for each 300 days since that trade. Raises ExchangeError.
    """
    series = Series(product, Granularity.ONE_DAY)
    for window in reversed(_windows(today)):
        (answer,) = exchange.fetch_candles(series, window.start, window.end)
        if answer.candles.num_rows:
            return answer.candles["time"][-1].as_py().date()
    return None


def find_listing(first_candle_of: FirstCandleOf, today: date) -> date | None:
    """Return the day of the first trade from FLOOR to `today` (UTC), None if there was no trade.

    The list of 300-day windows is bisected, beginning at one that has a trade: the newest
    window, or any other if the newest is empty because the product is delisted or halted. Then the
    windows before the first one found are asked again, with confirmation. If one of them has a
    trade, an empty answer was spurious, and the search goes on from there.

    Assumption: no product is silent for 1,200 days (four windows) and then traded again. A product
    may stop for good, and may have three empty windows in a row.
    """

    def look(places: Iterable[int], confirm: bool = False) -> Iterator[_Traded]:
        for place in places:
            if day := first_candle_of(windows[place], confirm):
                yield _Traded(place, day)

    windows, earliest = _windows(today), None
    everywhere = range(len(windows))
    traded = next(look(_far_apart(everywhere)), None) or next(look(everywhere, True), None)
    while traded:
        earliest = _bisect(traded, lambda place: next(look([place]), None))
        before = everywhere[: earliest.place][: -_SILENT_WINDOWS - 2 : -1]
        traded = next(look(before, confirm=True), None)
    return earliest.day if earliest else None


def _windows(today: date) -> Sequence[Window]:
    """Return windows of 300 days that end with `today` and begin at FLOOR or shortly before."""
    end = datetime.combine(today, time(), UTC) + DAY
    days = MAX_CANDLES * DAY
    return list(request_windows(end + (FLOOR - end) // days * days, end, Granularity.ONE_DAY))


def _far_apart(places: Sequence[int]) -> Iterable[int]:
    """Return all places: every 8th, beginning with the last; then every 4th, 2nd, and the rest."""
    strides = [_STRIDE >> halved for halved in range(_STRIDE.bit_length())]
    return dict.fromkeys(place for stride in strides for place in places[::-stride])


def _bisect(earliest: _Traded, look_at: Callable[[int], _Traded | None]) -> _Traded:
    """Return the first window with a trade, if all windows from there to `earliest` have trades."""
    low = 0
    while low < earliest.place:
        middle = (low + earliest.place) // 2
        if traded := look_at(middle):
            earliest = traded
        else:
            low = middle + 1
    return earliest
