"""The evidence about a stored day, and about when a product was traded. Pure: no I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from coinbase_assets.candles.calendar import DAY, format_time
from coinbase_assets.candles.proofs import NO_TRADES, Proof, proofs_digest

RULE = 2
"""The version of the rule by which holes are proven. The first version stored no number."""
_LONGEST_PAUSE = 30 * DAY


@dataclass(frozen=True)
class Evidence:
    """What the exchange's coarser candles, and its trades, say of a closed day.

    `compared_at` is when the exchange gave the oldest of these answers. If a single witness proves
    all holes of the day, `witness` names it; else `proofs` say of each hole what is known of it,
    and `digest` is theirs. `agreement` says of each granularity how many of its candles were
    compared and what they showed, see completeness/agreement.py. `disagreement` says where the
    exchange shows other candles than the day has; it is empty if it shows none. `tries` counts the
    comparisons in a row that left a hole unproven. `rule` is the version of the rule. A day that is
    `outside_lifetime` of its product needs no proof, as long as the lifetime stands.
    """

    compared_at: datetime
    witness: str = ""
    proofs: tuple[Proof, ...] = ()
    agreement: str = ""
    disagreement: str = ""
    tries: int = 0
    rule: int = RULE
    stored_digest: str = ""
    outside_lifetime: bool = False

    @property
    def digest(self) -> str:
        return self.stored_digest or proofs_digest(self.proofs)

    @property
    def agrees(self) -> bool:
        """Whether every hole is proven and the exchange shows no other candles."""
        return self.is_proven and not self.disagreement

    @property
    def is_proven(self) -> bool:
        return all(proof.state == NO_TRADES for proof in self.proofs)

    @property
    def is_final(self) -> bool:
        """Whether nothing is left to be found out about the holes."""
        return self.is_proven or self.outside_lifetime

    def to_fields(self) -> Mapping[str, str]:
        """Return the evidence as fields of the day's table."""
        return {
            **({"outside_lifetime": "true"} if self.outside_lifetime else {}),
            "rule": str(self.rule),
            "compared_at": format_time(self.compared_at),
            "witness": self.witness,
            "proofs": self.digest,
            "agreement": self.agreement,
            "disagreement": self.disagreement,
            "tries": str(self.tries or ""),
        }

    @classmethod
    def from_fields(cls, fields: Mapping[str, str]) -> "Evidence | None":
        """Return the evidence of `to_fields`, without its proofs; None before a comparison."""
        if not fields.get("compared_at"):
            return None
        return cls(
            datetime.fromisoformat(fields["compared_at"]),
            fields.get("witness", ""),
            agreement=fields.get("agreement", ""),
            disagreement=fields.get("disagreement", ""),
            tries=int(fields.get("tries") or 0),
            rule=int(fields.get("rule", 1)),
            stored_digest=fields.get("proofs", ""),
            outside_lifetime=fields.get("outside_lifetime") == "true",
        )


def is_due_again(fields: Mapping[str, str], now: datetime) -> bool:
    """Return whether a stored day, given by its fields, should be compared again at `now`.

    A day that an earlier rule compared is due at once. A day with an unproven hole is due 1 day
    after the comparison that left it, then 2, 4, and at most 30 days.
    """
    evidence = Evidence.from_fields(fields)
    if evidence is None or fields.get("missing_buckets", "0") == "0":
        return False
    pause = min(_LONGEST_PAUSE, 2 ** min(evidence.tries - 1, 10) * DAY) if evidence.tries else None
    if evidence.rule != RULE:
        return True
    return pause is not None and now >= evidence.compared_at + pause


def waits(fields: Mapping[str, str], now: datetime) -> bool:
    """Return whether a stored day has an unproven hole, but is not due again yet."""
    return bool(fields.get("tries")) and not is_due_again(fields, now)


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

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Lifetime":
        """Return the lifetime of a stored row.

        Earlier versions stored one time for the answers about both days.
        """
        closed_at = row.get("closed_at") or (row.get("asked_at") if row.get("last_day") else None)
        return cls(**{**row, "closed_at": closed_at})


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
