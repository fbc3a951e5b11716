"""Days, cut from the exchange's answers over windows of any length. Pure: no I/O."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice

from coinbase_assets.candles.calendar import DAY
from coinbase_assets.candles.days import Day
from coinbase_assets.candles.series import Series
from coinbase_assets.candles.table import clip_candles, empty_candles, merge_candles
from coinbase_assets.candles.windows import Answer


def cut_days(
    answers: Iterable[Answer], series: Series, starts: Sequence[datetime]
) -> Iterator[Day]:
    """Yield the days that begin at `starts` (consecutive), each as soon as it is answered.

    `answers` cover the days in order. They may begin within the first day. They may end early, at
    the exchange's current time: later days are then empty and dated by the last answer.
    """
    answers = iter(answers)
    read: list[Answer] = []
    for start in starts:
        while not read or read[-1].window.end < start + DAY:
            if not (more := list(islice(answers, 1))):
                break
            read += more
        read = [answer for answer in read if answer.window.end > start] or read[-1:]
        yield _day(series, start, read)


def _day(series: Series, start: datetime, answers: list[Answer]) -> Day:
    end = start + DAY
    parts = [clip_candles(answer.candles, start, end) for answer in answers]
    return Day(
        series,
        start,
        merge_candles(empty_candles(), *parts),
        min(answer.as_of for answer in answers),
        max(answer.as_of for answer in answers),
        max(answers[0].window.start, start),
        min(max(_answered_through(answers), start), end),
        sum(answer.requests for answer in answers),
    )


def _answered_through(answers: list[Answer]) -> datetime:
    """Return the first instant that is not answered; an old cached answer may end early."""
    for answer in answers:
        if answer.answered_through < answer.window.end:
            return answer.answered_through
    return answers[-1].window.end
