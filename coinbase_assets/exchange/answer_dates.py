"""When an answer was made: its Date and Age headers, and whether such a Date can be right."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx

from coinbase_assets.exchange.errors import (
    ExchangeError,
    ExchangeUnavailable,
    GarbledAnswer,
    RateLimited,
)
from coinbase_assets.plain_text import shown

# Coinbase was founded in 2012.
YEARS = range(2012, 2101)
_LARGEST_DIFFERENCE = timedelta(hours=1)


def exchange_time(headers: httpx.Headers) -> datetime:
    """Return the exchange's time when it made the answer (UTC), or up to 2 s before that time.

    An answer out of a cache is `Age` seconds old. As `Age` is cut to whole seconds, such an answer
    is taken as one second older. Raises GarbledAnswer.
    """
    date, age = answer_date(headers), headers.get("Age", "0").strip()
    if not (age.isascii() and age.isdecimal() and len(age) < 10):
        raise GarbledAnswer(f"no usable Date header (Age {shown(age, 80)} is no number of seconds)")
    made = date - timedelta(seconds=int(age) + 1) if int(age) else date
    return _in_range(made, f"with an Age of {age} s")


def answer_date(headers: httpx.Headers) -> datetime:
    """Return the time in the Date header. Raises GarbledAnswer."""
    try:
        date = parsedate_to_datetime(headers["Date"])
    except (KeyError, ValueError, OverflowError) as error:
        raise GarbledAnswer(f"no usable Date header ({shown(str(error), 80)})") from error
    if date.utcoffset():
        raise GarbledAnswer(f"no usable Date header ({date} is not in UTC)")
    return _in_range(date.replace(tzinfo=UTC), "in UTC")


def _in_range(moment: datetime, how: str) -> datetime:
    if moment.year not in YEARS:
        years = f"{YEARS[0]} to {YEARS[-1]}"
        raise GarbledAnswer(f"no usable Date header (the year {moment.year} {how} is not {years})")
    return moment


class DateCheck:
    """Refuses Dates that lie more than an hour from this machine's clock or from the exchange's.

    `clock` returns this machine's epoch seconds, `ask` asks the exchange for its time. The
    exchange is asked at the first Date that this machine's clock contradicts, and its clock counts
    from then on, advanced by the seconds that pass here.
    """

    def __init__(self, clock: Callable[[], float], ask: Callable[[], Awaitable[datetime]]) -> None:
        self._clock, self._ask = clock, ask
        self._asking = asyncio.Lock()
        self._confirmed: datetime | None = None
        self._confirmed_at = time.monotonic()

    async def refuse_wrong(self, date: datetime) -> None:
        """Raise GarbledAnswer, which names both clocks, if the Date is wrong by an hour.

        Raises RateLimited or ExchangeUnavailable if the exchange does not tell its time now.
        """
        began = time.monotonic()
        if self._is_near(date):
            return
        async with self._asking:
            if self._confirmed is None or self._confirmed_at < began:
                await self._confirm(date)
        if not self._is_near(date):
            raise GarbledAnswer(
                f"its Date {date:%FT%TZ} is wrong: this machine's clock says {self._here():%FT%TZ},"
                f" the exchange's {self._now():%FT%TZ}"
            )

    async def _confirm(self, date: datetime) -> None:
        try:
            confirmed = await self._ask()
        except (RateLimited, ExchangeUnavailable):
            raise
        except ExchangeError as error:
            raise GarbledAnswer(
                f"its Date is {date:%FT%TZ}, but this machine's clock says {self._here():%FT%TZ},"
                f" and the exchange does not tell its time: {error}"
            ) from error
        self._confirmed, self._confirmed_at = confirmed, time.monotonic()

    def _is_near(self, date: datetime) -> bool:
        return abs(date - self._now()) <= _LARGEST_DIFFERENCE

    def _now(self) -> datetime:
        """Return the exchange's time if it is confirmed, else this machine's."""
        if self._confirmed is None:
            return self._here()
        return self._confirmed + timedelta(seconds=time.monotonic() - self._confirmed_at)

    def _here(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)
