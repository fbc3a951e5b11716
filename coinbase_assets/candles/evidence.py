"""The evidence about a stored day, and about when a product was traded. Pure: no I/O."""

from collections.abc import Mapping
from dataclasses import dataclass
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
    """The UTC days of a product's first trade and, if it is delisted, of its last trade.

    A day is None while it is not known. `asked_at` is the exchange's time of the answer.
    """

    first_day: date | None = None
    last_day: date | None = None
    asked_at: datetime | None = None
