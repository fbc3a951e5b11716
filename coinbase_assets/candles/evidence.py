"""What says that a day is whole, or that it is not, or that there was nothing to trade. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

# In place of a granularity, where the exchange has no coarser candles to compare with.
AGAIN = "again"

_TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class Evidence:
    """What came of comparing a day with the exchange's own coarser candles.

    `compared_with` is their granularity, or AGAIN where the same candles were asked for once more.
    `compared_at` is the exchange's time of the oldest of those answers. `contradicted` are the
    hours of the day, from 0 to before 24, in which they show trades that no candle of the day
    holds. `disagreement` says where they differ from the day in whichever way; empty if nowhere.
    """

    compared_with: str
    compared_at: datetime
    contradicted: tuple[range, ...] = ()
    disagreement: str = ""

    @property
    def agrees(self) -> bool:
        return not self.disagreement

    def to_fields(self) -> Mapping[str, str]:
        return {
            "compared_with": self.compared_with,
            "compared_at": self.compared_at.strftime(_TIME),
            "contradicted_hours": ",".join(f"{h.start}-{h.stop}" for h in self.contradicted),
            "disagreement": self.disagreement,
        }

    @classmethod
    def from_fields(cls, fields: Mapping[str, str]) -> "Evidence | None":
        """None where nothing was compared."""
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
    """The UTC day of a product's first trade and, once it is delisted, that of its last.

    Either is None as long as it is not known; `asked_at` is the exchange's time of the answer.
    """

    first_day: date | None = None
    last_day: date | None = None
    asked_at: datetime | None = None
