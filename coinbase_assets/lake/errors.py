"""What readers raise: for what the lake does not hold, and for arguments that cannot be."""

from collections.abc import Sequence

from coinbase_assets.candles.calendar import as_ranges
from coinbase_assets.candles.series import CandleSeries
from coinbase_assets.storage.errors import StorageError


class SeriesNotFound(StorageError):
    """The lake holds no history of the series."""


class CandlesMissing(StorageError):
    """Days of the range were not collected. `days` are their keys, ascending."""

    def __init__(self, series: CandleSeries, days: Sequence[str]) -> None:
        super().__init__(
            f"{series}: not collected: {as_ranges(days)}; collect them, for example with"
            f" `coinbase-assets collect {series} --from {days[0]} --to {days[-1]}`,"
            " or read what there is: --allow-gaps, in Python allow_gaps=True"
        )
        self.series = series
        self.days = list(days)


class InvalidRequest(ValueError):
    """An argument of a reader has a wrong type or value; the message says what it takes."""
