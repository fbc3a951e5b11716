"""Tables of candles for tests. Columns are given by name, so a new column changes no test."""

from collections.abc import Sequence
from datetime import datetime

import pyarrow as pa

from coinbase_assets.candles.table import SCHEMA

Values = float | Sequence[float] | Sequence[float | None]


def candle_table(times: Sequence[datetime], default: float = 1.0, /, **columns: Values) -> pa.Table:
    """Return candles that begin at `times`, in that order, with the columns of SCHEMA.

    A column is given as a value for each candle, or as a number that all candles have. Required
    columns that are not given hold `default`, optional columns hold nulls.
    """
    if unknown := columns.keys() - {*SCHEMA.names[1:]}:
        raise TypeError(f"no columns {sorted(unknown)}; there are {SCHEMA.names}")
    table: dict[str, Sequence[object]] = {"time": list(times)}
    for field in list(SCHEMA)[1:]:
        values = columns.get(field.name, None if field.nullable else default)
        table[field.name] = values if isinstance(values, Sequence) else [values] * len(times)
    return pa.table(table, SCHEMA)
