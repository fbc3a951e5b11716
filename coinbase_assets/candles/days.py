"""A day of candles: what is known about it, how it is merged and stored. Pure: no I/O."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from itertools import groupby

import numpy as np
import pyarrow as pa

from coinbase_assets.candles.calendar import DAY, day_start, format_time
from coinbase_assets.candles.evidence import Evidence, waits
from coinbase_assets.candles.series import Series
from coinbase_assets.candles.table import (
    InvalidCandles,
    candles_digest,
    clip_candles,
    conform,
    epoch_seconds,
    merge_candles,
    without_candles,
)
from coinbase_assets.table_metadata import table_fields, with_fields

# The exchange revises young candles. Candles fetched this long after the end of their day are
# final.
SETTLED_AFTER = timedelta(hours=24)
# A bucket's number in its day, or a range of them.
_RANGE = re.compile(r"([0-9]{1,4})(?:-([0-9]{1,4}))?")
# Longer than from an answer to the end of its run's put.
_LONGEST_WAIT = timedelta(hours=1)


@dataclass(frozen=True)
class Day:
    """The closed candles of one UTC day, and what is known about them.

    The exchange answered for all buckets from `answered_from` until `answered_through`. By its
    clock, it gave the oldest of these answers at `fetched_at`, the newest at `refreshed_at`.
    `requests` is the number of requests sent for the newest answer; a request may serve two days.
    `evidence` is the result of comparing the day with coarser candles, None before the comparison.
    `repeated` is true if another answer held the same candles. `from_trades` has the starts,
    in epoch seconds, of the candles that were made of the exchange's trades, because it gave no
    candle. The day's version is at least `least_version`.
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
    from_trades: frozenset[int] = frozenset()
    least_version: int = field(default=0, compare=False)

    @property
    def closed(self) -> bool:
        return self.answered_through >= self.start + DAY

    @property
    def settled(self) -> bool:
        """Whether the day is final.

        Its holes must be proven, and its candles agree with coarser ones or the previous answer.
        The answers with its candles and with the coarser ones must both be late enough, so that
        one wrong Date header settles nothing.
        """
        evidence, final = self.evidence, self.start + DAY + SETTLED_AFTER
        if not self.closed or not evidence or not evidence.is_final:
            return False
        agrees = self.repeated or not evidence.disagreement
        return agrees and min(self.fetched_at, evidence.compared_at) >= final

    @cached_property
    def is_hole(self) -> np.ndarray:
        """Whether each answered bucket, in order, has no candle."""
        step = self.series.granularity.seconds
        is_hole = np.ones(int((self.answered_through - self.start).total_seconds()) // step, bool)
        answered = clip_candles(self.candles, self.start, self.answered_through)
        since_start = epoch_seconds(answered["time"]) - int(self.start.timestamp())
        is_hole[since_start // step] = False
        return is_hole

    @property
    def empty_buckets(self) -> int:
        """The number of closed buckets without a candle; in most of them nothing was traded."""
        return int(self.is_hole.sum())

    def merged_with(self, stored: "Day", disproved: pa.Table | None = None) -> "Day":
        """Return the day with the candles of both; for a time in both, the newer answer's.

        A stored candle that the newer answer lacks is kept, since an answer may be incomplete. It
        is dropped only if it is among the `disproved` candles.
        Raises InvalidCandles if the two days' answers leave a gap between them.
        """
        if disproved is not None and not self._precedes(stored):
            stored = replace(stored, candles=without_candles(stored.candles, disproved))
        older, newer = (self, stored) if self._precedes(stored) else (stored, self)
        if max(older.answered_from, newer.answered_from) > min(
            older.answered_through, newer.answered_through
        ):
            raise InvalidCandles(
                f"{self.series} {self.start:%F}: answered from {format_time(self.answered_from)},"
                f" stored until {format_time(stored.answered_through)}: a gap;"
                " materialise the day again"
            )
        in_part = newer.answered_from > newer.start
        return replace(
            newer,
            candles=merge_candles(older.candles, newer.candles),
            fetched_at=min(older.fetched_at, newer.fetched_at) if in_part else newer.fetched_at,
            answered_from=min(older.answered_from, newer.answered_from),
            answered_through=max(older.answered_through, newer.answered_through),
            from_trades=newer.from_trades
            | (older.from_trades - set(epoch_seconds(newer.candles["time"]).tolist())),
            least_version=older.version + 1,
        )

    def _precedes(self, stored: "Day") -> bool:
        """Whether another run has stored a newer answer meanwhile.

        A stored time that is further ahead than a run takes was wrong, and wins nothing.
        """
        return self.refreshed_at < stored.refreshed_at <= self.refreshed_at + _LONGEST_WAIT

    @property
    def version(self) -> int:
        return max(int(self.refreshed_at.timestamp()), self.least_version)

    def to_table(self, fetched_from: str) -> pa.Table:
        """Return the candles with what is known about the day as fields of the table.

        `fetched_from` is the URL of the exchange.
        Raises InvalidCandles if the exchange was not asked for the beginning of the day.
        """
        if self.answered_from > self.start:
            raise InvalidCandles(
                f"{self.series} {self.start:%F}: answered only from"
                f" {format_time(self.answered_from)}; materialise the day again"
            )
        return with_fields(
            self.candles,
            {
                "series": str(self.series),
                "source": fetched_from,
                "version": str(self.version),
                "fetched_at": format_time(self.fetched_at),
                "refreshed_at": format_time(self.refreshed_at),
                "answered_through": format_time(self.answered_through),
                "settled": str(self.settled).lower(),
                "requests": str(self.requests),
                "missing_buckets": str(self.empty_buckets),
                "digest": candles_digest(self.candles),
                **(self.evidence.to_fields() if self.evidence else {}),
                **self._made_of_trades(),
                **first_and_last(self.candles),
            },
        )

    def _made_of_trades(self) -> Mapping[str, str]:
        """Return a field with the numbers of the buckets whose candles are made of trades."""
        if not self.from_trades:
            return {}
        first, step = int(self.start.timestamp()), self.series.granularity.seconds
        return {
            "from_trades": format_numbers({(time - first) // step for time in self.from_trades})
        }

    @classmethod
    def from_table(cls, series: Series, start: datetime, table: pa.Table) -> "Day":
        """Return the day that `to_table` wrote. Raises InvalidCandles for others."""
        fields = table_fields(table, InvalidCandles)
        return cls(
            series,
            start,
            conform(table),
            datetime.fromisoformat(fields["fetched_at"]),
            refreshed_at(fields),
            start,
            datetime.fromisoformat(fields["answered_through"]),
            int(fields["requests"]),
            Evidence.from_fields(fields),
            from_trades=frozenset(
                int(start.timestamp()) + number * series.granularity.seconds
                for number in parse_numbers(fields.get("from_trades", ""))
            ),
            least_version=int(fields["version"]),
        )


def format_numbers(numbers: Collection[int]) -> str:
    """Return whole numbers as ranges, such as `0-4,9`: a day's buckets take at most 4 kB."""
    ordered = sorted(numbers)
    runs = [
        [number for _, number in run]
        for _, run in groupby(enumerate(ordered), key=lambda pair: pair[1] - pair[0])
    ]
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def parse_numbers(text: str) -> frozenset[int]:
    """Return the numbers in the ranges of `format_numbers`; what is not readable is left out."""
    ranges = (_RANGE.fullmatch(part) for part in text.split(","))
    ends = [(int(match[1]), int(match[2] or match[1])) for match in ranges if match]
    return frozenset(number for first, last in ends for number in range(first, last + 1))


def refreshed_at(fields: Mapping[str, str]) -> datetime:
    """Return when the exchange last answered for a stored day, from the day's fields.

    Version 0.1 stored only `fetched_at`: it fetched each day whole.
    """
    return datetime.fromisoformat(fields.get("refreshed_at", fields["fetched_at"]))


def is_settled(fields: Mapping[str, str]) -> bool:
    """Return whether a stored day is settled, from the day's fields."""
    return fields.get("settled") == "true"


def is_final(key: str, fields: Mapping[str, str], now: datetime) -> bool:
    """Return whether a stored day need not be collected again, at least for now.

    It is settled, or is old enough and has an unproven hole that is not due again.
    """
    if is_settled(fields):
        return True
    evidence = Evidence.from_fields(fields)
    if not evidence or evidence.compared_at < day_start(key) + DAY + SETTLED_AFTER:
        return False
    return waits(fields, now)


def first_and_last(candles: pa.Table) -> Mapping[str, str]:
    """Return the fields with the times of the first and the last candle; empty without candles."""
    if not candles.num_rows:
        return {}
    times = candles["time"]
    return {
        "first_candle": format_time(times[0].as_py()),
        "last_candle": format_time(times[-1].as_py()),
    }
