"""Which days of a series are to be collected, in which runs, and what came of it."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from coinbase_assets.automation.asset_runs import Failure
from coinbase_assets.candles.calendar import DAY, day_start
from coinbase_assets.candles.series import Granularity, Series
from coinbase_assets.candles.windows import request_windows
from coinbase_assets.exchange.errors import ProductRemoved

# A run of more series would hold back what is built of the first ones for long.
_MOST_SERIES = 20


@dataclass(frozen=True)
class Plan:
    """The wanted days of a series (partition keys, ascending), and the days each run collects.

    `tags` are those of the runs that collect days.
    """

    series: Series
    days: Sequence[str]
    runs: Sequence[Sequence[str]]
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def requests(self) -> int:
        """The number of requests: for candles, and for the daily candles to compare them with.

        If the two differ for a day, collecting it takes more requests.
        """
        spans = [(day_start(days[0]), day_start(days[-1]) + DAY) for days in self.runs]
        candles = [request_windows(*span, self.series.granularity) for span in spans]
        daily = [request_windows(start - DAY, end, Granularity.ONE_DAY) for start, end in spans]
        return sum(len(list(windows)) for windows in [*candles, *daily])


@dataclass(frozen=True)
class Outcome:
    """The partitions that are missing after a plan was carried out, and the first error if any.

    Days after the removal of a product from the exchange are not missing.
    """

    plan: Plan
    missing: Sequence[str]
    error: Failure | None

    @property
    def failed(self) -> bool:
        """Whether anything that the exchange has could not be collected."""
        return bool(self.missing or (self.error and not isinstance(self.error, ProductRemoved)))


def grouped(plans: Iterable[Plan]) -> Iterator[Sequence[Plan]]:
    """Yield the plans whose runs have the same days and tags together, at most _MOST_SERIES."""
    groups = defaultdict[object, list[Plan]](list)
    for plan in plans:
        days = tuple((run[0], run[-1]) for run in plan.runs)
        groups[days, tuple(plan.tags.items())].append(plan)
    for group in groups.values():
        for first in range(0, len(group), _MOST_SERIES):
            yield group[first : first + _MOST_SERIES]
