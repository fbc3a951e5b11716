"""A table in a file of others, as it is stored: which column is what is not known here."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from coinbase_assets.foreign_files.errors import CandleFileError

# Twenty years of 1m candles.
MOST_ROWS = 10_000_000
_MOST_BYTES = 1 << 30
_MOST_COLUMNS = 64

Order = Sequence[str]
"""What the columns hold, by position: `time`, `open` and so on, or `-` for something else."""

PLAIN_ORDER: Order = ("time", "open", "high", "low", "close", "volume")
EXCHANGE_ORDER: Order = ("time", "low", "high", "open", "close", "volume")
"""The order of the arrays that Coinbase Exchange answers."""


@dataclass(frozen=True)
class ForeignTable:
    """Columns of equal length and of any types, with their names.

    If the columns have no names, `orders` are those in which such a file may have them.
    """

    columns: Sequence[pa.ChunkedArray]
    names: Sequence[str] = ()
    orders: Sequence[Order] = ()


def refuse_large(rows: int = 0, columns: int = 0, size: int = 0) -> None:
    """Raise CandleFileError for more rows, columns or bytes than are read."""
    for count, most, what in (
        (rows, MOST_ROWS, "rows"),
        (columns, _MOST_COLUMNS, "columns"),
        (size, _MOST_BYTES, "bytes"),
    ):
        if count > most:
            raise CandleFileError(
                f"has {count:,} {what}, and the most is {most:,}; give the candles alone,"
                " in several files"
            )
