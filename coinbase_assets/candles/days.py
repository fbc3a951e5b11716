"""A day of candles, cut from the exchange's answers, and what is known about it. Pure: no I/O."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from itertools import islice

import numpy as np
import pyarrow as pa

from coinbase_assets.candles.evidence import Evidence
from coinbase_assets.candles.series import Series
from coinbase_assets.candles.table import (
    InvalidCandles,
    candles_digest,
    clip_candles,
    empty_candles,
    merge_candles,
    without_candles,
)
from coinbase_assets.candles.windows import Answer
from coinbase_assets.table_metadata import table_fields, with_fields

DAY = timedelta(days=1)
# The exchange revises young candles; those fetched a day after their day's end are taken as final.
SETTLED_AFTER = timedelta(hours=24)

_TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class Day:
    """The closed candles of one UTC day.

    The exchange's answers tell all from `answered_from` to before `answered_through`. `fetched_at`
    is its time of the oldest of them, `refreshed_at` of the newest, `requests` how many were sent
    for the newest (one may serve two days). `evidence` is what came of comparing the day with
    coarser candles, None before that; `repeated` tells that the answer before said the same.
    """

    series: Series
    start: datetime
    candles: pa.Table
    fetched_at: datetime
    refreshed_at: datetime
    answered_from: datetime
    answered_through: datetime
    requests: int
    evidence: Evidence | None = None
    repeated: bool = False

    @property
    def closed(self) -> bool:
        return self.answered_through >= self.start + DAY

    @property
    def settled(self) -> bool:
        """Whether it is final: fetched late, and as coarser candles or the answer before tell."""
        agrees = self.repeated or (self.evidence is not None and self.evidence.agrees)
        return self.closed and agrees and self.fetched_at >= self.start + DAY + SETTLED_AFTER

    @cached_property
    def is_hole(self) -> np.ndarray:
        """Of each bucket that was answered, whether it has no candle."""
        step = self.series.granularity.seconds
        is_hole = np.ones(int((self.answered_through - self.start).total_seconds()) // step, bool)
        answered = clip_candles(self.candles, self.start, self.answered_through)
        seconds = answered["time"].cast(pa.int64()).to_numpy() // 1_000_000
        is_hole[(seconds - int(self.start.timestamp())) // step] = False
        return is_hole

    @property
    def missing_buckets(self) -> int:
        """Closed buckets without a candle: mostly, nothing was traded in them."""
        return int(self.is_hole.sum())

    def merged_with(self, stored: "Day", absent: pa.Table | None = None) -> "Day":
        """Both days' candles; of two for one time, the one of the newer answer.

        A stored candle that the newer answer lacks stays, since one answer may be incomplete,
        except where it is one of the `absent`.
        Raises InvalidCandles where neither tells what lies between their answers.
        """
        if absent is not None and self.refreshed_at >= stored.refreshed_at:
            stored = replace(stored, candles=without_candles(stored.candles, absent))
        older, newer = sorted((stored, self), key=lambda day: day.refreshed_at)
        if max(older.answered_from, newer.answered_from) > min(
            older.answered_through, newer.answered_through
        ):
            raise InvalidCandles(
                f"{self.series} {self.start:%F}: answered from {self.answered_from:%FT%TZ}, but"
                f" stored only up to {stored.answered_through:%FT%TZ}; materialise the day again"
            )
        in_part = newer.answered_from > newer.start
        return replace(
            newer,
            candles=merge_candles(older.candles, newer.candles),
            fetched_at=min(older.fetched_at, newer.fetched_at) if in_part else newer.fetched_at,
            answered_from=min(older.answered_from, newer.answered_from),
            answered_through=max(older.answered_through, newer.answered_through),
        )

    def to_table(self, source: str) -> pa.Table:
        """The candles, with what is known about them in the schema metadata.

        Raises InvalidCandles where the day's beginning is not known.
        """
        if self.answered_from > self.start:
            raise InvalidCandles(
                f"{self.series} {self.start:%F}: answered only from {self.answered_from:%FT%TZ};"
                " materialise the day again"
            )
        return with_fields(
            self.candles,
            {
                "series": str(self.series),
                "source": source,
                "version": str(int(self.refreshed_at.timestamp())),
                "fetched_at": self.fetched_at.strftime(_TIME),
                "refreshed_at": self.refreshed_at.strftime(_TIME),
                "answered_through": self.answered_through.strftime(_TIME),
                "settled": str(self.settled).lower(),
                "requests": str(self.requests),
                "missing_buckets": str(self.missing_buckets),
                "digest": candles_digest(self.candles),
                **(self.evidence.to_fields() if self.evidence else {}),
                **first_and_last(self.candles),
            },
        )

    @classmethod
    def from_table(cls, series: Series, start: datetime, table: pa.Table) -> "Day":
        """The day that `to_table` made the table of."""
        fields = table_fields(table)
        fetched_at = fields["fetched_at"]
        return cls(
            series,
            start,
            table.replace_schema_metadata(None),
            datetime.fromisoformat(fetched_at),
            # Days stored by version 0.1 were fetched at once.
            datetime.fromisoformat(fields.get("refreshed_at", fetched_at)),
            start,
            datetime.fromisoformat(fields["answered_through"]),
            int(fields["requests"]),
            Evidence.from_fields(fields),
        )


def first_and_last(candles: pa.Table) -> Mapping[str, str]:
    """The times of the first and the last candle as fields; none for no candles."""
    if not candles.num_rows:
        return {}
    times = candles["time"]
    return {
        "first_candle": times[0].as_py().strftime(_TIME),
        "last_candle": times[-1].as_py().strftime(_TIME),
    }


def cut_days(
    answers: Iterable[Answer], series: Series, starts: Sequence[datetime]
) -> Iterator[Day]:
    """The days that begin at `starts`, adjoining and in order, each as soon as it is answered.

    `answers` cover them in order. They may begin within the first day, and end early, where the
    exchange's present is reached: of the days after it, the last answer says that nothing is there
    yet.
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
    """The first instant that an answer, perhaps an old one out of a cache, tells nothing about."""
    for answer in answers:
        if answer.answered_through < answer.window.end:
            return answer.answered_through
    return answers[-1].window.end


def is_settled(fields: Mapping[str, str]) -> bool:
    """Whether a stored day is settled, by the fields of its blob."""
    return fields.get("settled") == "true"
