"""What becomes of candles that the exchange lost: are they named, and do they come back?

Days of a market with planted losses are collected and healed, from a stand-in exchange. Then the
lake is compared with the truth. The requests of each table are those beyond the same days without
losses, at the stand-in whose granularities all agree.
"""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import get_args

from benchmarks.losses_found import LENGTHS, compare, plant, single_candles
from benchmarks.lossy_books import DAY, Book, Case
from benchmarks.lossy_days import Found, Workplace, workplace
from coinbase_assets.candles.windows import MAX_CANDLES
from coinbase_assets_tests.stand_in.disagreements import Disagreement
from coinbase_assets_tests.stand_in.losses import Kind
from coinbase_assets_tests.stand_in.markets import SyntheticMarket, file_markets

# At lower prices volumes are so large that a unit of the eighth decimal is within rounding.
_PRICE = 28_000.0
_SHARED = Path(__file__).resolve().parents[2] / "shared" / "candles"
REAL = Path(os.environ.get("CANDLES", _SHARED))
"""The folder of real candles, see `FileMarket`; without it, the synthetic markets must do."""


def main(runs: int) -> None:
    """Print the tables; the figures are counts, so one run suffices."""
    with workplace() as place:
        print_minutes(place, thin_book(0.07))
        print_minutes(place, thin_book(0.35), ("b", "d"))
        if book := real_book():
            print_minutes(place, book, ("d",))
        print_single_candles(place)
        print_month(place)


def thin_book(empty: float) -> Book:
    """Return a synthetic book with a day for each length; this share of its minutes is empty."""
    market = SyntheticMarket("BTC-EUR", untraded=empty, price=_PRICE)
    return Book.of(f"{empty:.0%} of minutes empty", market, date(2024, 1, 3), len(LENGTHS))


def real_book() -> Book | None:
    """Return real days without an empty minute, None if their file is not there."""
    if not (REAL / "BTC-USD_60_20180205_20180306.parquet").exists():
        return None
    market = file_markets(REAL)["BTC-USD"]
    return Book.of("BTC-USD of February 2018", market, date(2018, 2, 6), len(LENGTHS))


def print_minutes(
    place: Workplace,
    book: Book,
    disagreements: Sequence[Disagreement] = get_args(Disagreement),
    kinds: Sequence[Kind] = get_args(Kind),
) -> None:
    """Print what becomes of lost minutes, a row for each stand-in and kind of loss."""
    lost = plant(book)
    usual = sum(_collect(place, Case(book, "1m")).requests)
    lengths = ", ".join(map(str, lost))
    print(
        f"\n**1m, {book.name}**: lost runs of {lengths} minutes, {usual} requests without losses\n"
    )
    print(f"| stand-in | lost | named, % of {lengths} | back, % of {lengths} | {_COLUMNS}")
    print("|---|---|---|---|---|---|---|")
    for disagreement in disagreements:
        for kind in (None, *kinds):
            case = Case(book, "1m", disagreement, kind, lost if kind else {})
            print(f"| {disagreement} | {kind or 'nothing'} | {_measured(place, case, usual)}")


def print_single_candles(place: Workplace, days: int = 27) -> None:
    """Print what becomes of single lost candles of other granularities."""
    market = SyntheticMarket("BTC-EUR", untraded=0.9, price=_PRICE)
    book = Book.of("90 % of minutes empty", market, date(2024, 1, 3), days)
    print(f"\n**Single lost candles, {book.name}, stand-in d**\n")
    print(f"| series | lost | named, % | back, % | {_COLUMNS}")
    print("|---|---|---|---|---|---|---|")
    for granularity in ("5m", "15m", "1h", "6h", "1d"):
        whole = Case(book, granularity)
        usual, lost = sum(_collect(place, whole).requests), {1: single_candles(whole)}
        for kind in ("one answer", "every answer", "two levels", "every level"):
            case = Case(book, granularity, "d", kind, lost)
            print(f"| {granularity} | {kind} | {_measured(place, case, usual)}", flush=True)


def print_month(place: Workplace, empties: Sequence[float] = (0.0, 0.07, 0.35)) -> None:
    """Print the requests for 31 days of 1m, and for the same again, by share of empty minutes."""
    windows = 31 * DAY // 60 / MAX_CANDLES
    print(f"\n**31 days of 1m without losses: {windows:.0f} request windows**\n")
    print("| stand-in | minutes empty | requests | requests / windows | the same again |")
    print("|---|---|---|---|---|")
    for empty in empties:
        market = SyntheticMarket("BTC-EUR", untraded=empty, price=_PRICE)
        book = Book.of(f"{empty:.0%} empty", market, date(2024, 1, 1), 31)
        for disagreement in get_args(Disagreement):
            first, again = _collect(place, Case(book, "1m", disagreement), heal=False).requests
            share = f"{first / windows:.2f}"
            print(f"| {disagreement} | {empty:.0%} | {first} | {share} | {again} |", flush=True)


_COLUMNS = "true holes proven | wrong | extra requests |"


def _measured(place: Workplace, case: Case, usual: int) -> str:
    found = _collect(place, case)
    truth = compare(case, found)
    shares = [_percents(truth.named), _percents(truth.back), f"{100 * truth.proven:.2f} %"]
    return " | ".join([*shares, str(truth.wrong), f"{sum(found.requests) - usual} |"])


def _percents(shares: Mapping[int, float]) -> str:
    return " ".join(f"{100 * share:.0f}" for share in shares.values()) or "-"


def _collect(place: Workplace, case: Case, heal: bool = True) -> Found:
    """Collect the days, and say so on standard error."""
    begin = time.perf_counter()
    found = place.collect(case, heal)
    what = f"{case.granularity}, {case.book.name}, {case.disagreement}, {case.kind or 'nothing'}"
    print(f"{what}: {time.perf_counter() - begin:.1f} s", file=sys.stderr, flush=True)
    return found
