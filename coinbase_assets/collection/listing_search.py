"""When a product was first traded: the exchange tells no listing date, so its candles must."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import NamedTuple

from coinbase_assets.candles.calendar import DAY
from coinbase_assets.candles.series import Granularity, Series
from coinbase_assets.candles.windows import MAX_CANDLES, Window, request_windows
from coinbase_assets.exchange.resource import BlockingExchange

# Before the exchange was founded.
FLOOR = datetime(2012, 1, 1, tzinfo=UTC)
# A product may be silent for so many windows on end and be traded again.
_SILENT_WINDOWS = 3
# The furthest apart that windows are looked at to find one with a trade; halved until none is left.
_STRIDE = 8

# Of a window of at most 300 UTC days: the day of its first daily candle, None where it has none.
# With True, an empty answer counts only when it came twice; else a spurious one may be told.
FirstCandleOf = Callable[[Window, bool], date | None]


@dataclass(frozen=True)
class Listing:
    """The UTC day of a product's first trade, None if there was none, and the requests it took."""

    day: date | None
    requests: int


class _Traded(NamedTuple):
    """A window that has a candle: its place among the windows, and its first candle's day."""

    place: int
    day: date


def fetch_listing(exchange: BlockingExchange, product: str, today: date) -> Listing:
    """Ask the exchange for daily candles; see find_listing for what is assumed.

    Only closed days count: a product first traded `today` (UTC) has no first day yet. A product
    traded ever since takes at most 14 requests (until 2038, failed ones not counted), one that was
    silent at last or for long at most 27, and one that was never traded three a window, 57.
    Raises ExchangeError; ProductNotFound for a product the exchange does not know.
    """
    series, sent = Series(product, Granularity.ONE_DAY), []

    def first_candle_of(window: Window, confirm: bool) -> date | None:
        (answer,) = exchange.fetch_candles(series, window.start, window.end, confirm_empty=confirm)
        sent.append(answer.requests)
        return answer.candles["time"][0].as_py().date() if answer.candles.num_rows else None

    day = find_listing(first_candle_of, today)
    return Listing(day, sum(sent))


def fetch_last_day(exchange: BlockingExchange, product: str, today: date) -> date | None:
    """The UTC day of a product's last trade up to `today`, None if nothing was ever traded.

    Takes a request, and two for each 300 days since. Raises ExchangeError.
    """
    series = Series(product, Granularity.ONE_DAY)
    for window in reversed(_windows(today)):
        (answer,) = exchange.fetch_candles(series, window.start, window.end)
        if answer.candles.num_rows:
            return answer.candles["time"][-1].as_py().date()
    return None


def find_listing(first_candle_of: FirstCandleOf, today: date) -> date | None:
    """The day of the first trade between FLOOR and `today` (UTC), None if nothing was ever traded.

    Bisects windows of 300 days, starting from one that has a trade: the last one, or for a product
    delisted or halted, whose last ones are empty, any. Then the windows before the one found are
    asked again, now to be sure: a spurious empty answer on the way is found out there.

    Assumed: no product is silent for 1,200 days (four windows) and then traded again. It may stop
    for good, and may have three empty windows on end in its life.
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
    """Windows of 300 days up to and with `today`, from FLOOR or shortly before."""
    end = datetime.combine(today, time(), UTC) + DAY
    days = MAX_CANDLES * DAY
    return list(request_windows(end + (FLOOR - end) // days * days, end, Granularity.ONE_DAY))


def _far_apart(places: Sequence[int]) -> Iterable[int]:
    """All places, the last one first, then such as are far from those before."""
    strides = [_STRIDE >> halved for halved in range(_STRIDE.bit_length())]
    return dict.fromkeys(place for stride in strides for place in places[::-stride])


def _bisect(earliest: _Traded, look_at: Callable[[int], _Traded | None]) -> _Traded:
    """The first window with a trade, if none but those before it are empty."""
    low = 0
    while low < earliest.place:
        middle = (low + earliest.place) // 2
        if traded := look_at(middle):
            earliest = traded
        else:
            low = middle + 1
    return earliest
