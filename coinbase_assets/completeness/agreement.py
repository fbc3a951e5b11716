"""How often the exchange's coarser candles agreed with a series, granularity by granularity.

A granularity that shows more on nearly all days is wrong itself, and is no witness. One that shows
more now and then is a witness of losses. One that has lost trades blames nothing, so it does no
harm. Which ones are witnesses is learned for each series from its newest days, so that it is a
function of the lake. Pure: no I/O.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from coinbase_assets.candles.series import Granularity
from coinbase_assets.completeness.folding import Relation

MOST_MORE = 0.8
"""The share of a witness's candles that may show more than the series."""
MOST_SAME = 0.95
"""The share of an exact granularity's candles that equal the series, or more."""
DAYS_REMEMBERED = 30
"""How many of the newest days say which granularities are reliable."""
# With fewer candles than this a granularity counts as reliable: doubt costs requests, not truth.
_FEWEST = 3
_COUNTS = re.compile(r"(1d|6h|1h|15m|5m) ([0-9]{1,9})/([0-9]{1,9})/([0-9]{1,9})")


@dataclass(frozen=True)
class Counts:
    """How many candles of a granularity were equal, and how many had less or more than ours."""

    same: int = 0
    less: int = 0
    more: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.same + other.same, self.less + other.less, self.more + other.more)

    @property
    def compared(self) -> int:
        return self.same + self.less + self.more

    @property
    def is_exact(self) -> bool:
        return self.compared >= _FEWEST and self.same >= MOST_SAME * self.compared

    @property
    def is_reliable(self) -> bool:
        return self.compared < _FEWEST or self.more <= MOST_MORE * self.compared


Agreement = Mapping[Granularity, Counts]


def count_relations(relations: Mapping[Granularity, np.ndarray]) -> Agreement:
    """Return the counts of each granularity, from the relation of each of its candles."""
    return {
        granularity: Counts(
            *(
                int((related == kind).sum())
                for kind in (Relation.SAME, Relation.LESS, Relation.MORE)
            )
        )
        for granularity, related in relations.items()
    }


def format_agreement(agreement: Agreement) -> str:
    """Return the counts as a field of a day, such as `1d 1/0/0, 1h 20/4/0`."""
    return ", ".join(
        f"{granularity} {counts.same}/{counts.less}/{counts.more}"
        for granularity, counts in agreement.items()
    )


def parse_agreement(text: str) -> Agreement:
    """Return the counts in a day's field; what is not readable is left out."""
    found = (_COUNTS.fullmatch(part) for part in text.split(", "))
    return {
        Granularity(match[1]): Counts(*map(int, match.groups()[1:])) for match in found if match
    }


def total_agreement(days: Iterable[Agreement]) -> Agreement:
    """Return the sums over several days."""
    total: dict[Granularity, Counts] = {}
    for day in days:
        for granularity, counts in day.items():
            total[granularity] = total.get(granularity, Counts()) + counts
    return total


def newest_agreement(days: Iterable[Mapping[str, str]]) -> Agreement:
    """Return the sums over the newest days, from the fields of all days, oldest first."""
    compared = [text for fields in days if (text := fields.get("agreement"))]
    return total_agreement(map(parse_agreement, compared[-DAYS_REMEMBERED:]))


def coarsest_reliable(agreement: Agreement, levels: Sequence[Granularity]) -> Granularity:
    """Return the first reliable granularity of `levels`, which begin with the coarsest.

    It is the last of them if none is reliable.
    """
    reliable = (level for level in levels if agreement.get(level, Counts()).is_reliable)
    return next(reliable, levels[-1])
