"""The evidence about a stored day, and about when a product was traded. Pure: no I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

from coinbase_assets.candles.calendar import format_time

# Stands in place of a granularity if the exchange has no coarser candles to compare with.
AGAIN = "again"


@dataclass(frozen=True)
class Evidence:
    """The result of comparing a day with the exchange's own coarser candles.

    `compared_with` is their granularity, or AGAIN if the same candles were asked for once more.
    `compared_at` is when the exchange gave the oldest answer with them. `contradicted` are ranges
    of hours of the day (0 to 23) in which they show trades that no candle of the day holds.
    `disagreement` says where they differ from the day; it is empty if they agree.
    """

    compared_with: str
    compared_at: datetime
    contradicted: tuple[range, ...] = ()
    disagreement: str = ""

    @property
    def agrees(self) -> bool:
        return not self.disagreement

    def to_fields(self) -> Mapping[str, str]:
        """Return the evidence as fields of the day's table."""
        return {
            "compared_with": self.compared_with,
            "compared_at": format_time(self.compared_at),
            "contradicted_hours": ",".join(f"{h.start}-{h.stop}" for h in self.contradicted),
            "disagreement": self.disagreement,
        }

    @classmethod
    def from_fields(cls, fields: Mapping[str, str]) -> "Evidence | None":
        """Return the evidence that `to_fields` wrote; None if the day was not compared."""
        if not fields.get("compared_with"):
            return None
        hours = [
            text.split("-") for text in fields.get("contradicted_hours", "").split(",") if text
        ]
        return cls(
            fields["compared_with"],
            datetime.fromisoformat(fields["compared_at"]),
            tuple(range(int(first), int(end)) for first, end in hours),
            fields.get("disagreement", ""),
        )


@dataclass(frozen=True)
class Lifetime:
    """A time in which a product was traded: the UTC days of its first and of its last trade.

    `first_day` is None while it is not known, `last_day` while the product is traded. `asked_at` is
    the exchange's time of the answer about the first day. `closed_at` is that of the answer that
    trade has ended; later days are unknown.
    """

    first_day: date | None = None
    last_day: date | None = None
    asked_at: datetime | None = None
    closed_at: datetime | None = None

    def ended_before(self, day: date) -> bool:
        """Return whether trade ended before the day, by an answer of that day or later."""
        if not self.last_day or not self.closed_at:
            return False
        return self.last_day < day <= self.closed_at.date()


def with_trade(lifetimes: Sequence[Lifetime], day: date) -> Sequence[Lifetime]:
    """Return the lifetimes of a product, ascending, corrected by a trade on this day.

    The exchange may list a delisted product again: that begins another lifetime.
    """
    changed = [
        replace(each, last_day=day) if each.ended_before(day) else each for each in lifetimes
    ]
    ends = [date.min, *(each.last_day or date.max for each in changed)]
    for place, each in enumerate(changed):
        if each.first_day and ends[place] < day < each.first_day:
            changed[place] = replace(each, first_day=day)
    if ends[-1] < day:
        changed.append(Lifetime(first_day=day))
    return changed


def with_end(
    lifetimes: Sequence[Lifetime], last_day: date, closed_at: datetime
) -> Sequence[Lifetime]:
    """Return the lifetimes, ended on `last_day` according to the answer at `closed_at`."""
    *earlier, newest = with_trade(lifetimes, last_day)
    ended = replace(newest, last_day=max(last_day, newest.last_day or last_day))
    return [*earlier, replace(ended, closed_at=max(closed_at, newest.closed_at or closed_at))]
