"""Candles as tables of other libraries: pandas, Polars, DuckDB."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Literal

import pyarrow as pa

from coinbase_assets.lake.errors import InvalidRequest

Library = Literal["pandas", "polars", "arrow", "duckdb"]
_PRODUCT, _TIME = "product", "time"


def to_library(table: pa.Table, library: Library) -> Any:
    """Return a DataFrame of pandas or Polars, the Arrow table, or a relation of DuckDB.

    Raises InvalidRequest if the library is not installed.
    """
    try:
        return _LIBRARIES[library](table)
    except ModuleNotFoundError as error:
        raise InvalidRequest(
            f"as_={library!r}: {error.name} is not installed; run `pip install {error.name}`"
        ) from None


def one_column_a_product(table: pa.Table) -> Any:
    """Return candles of several products as a pandas DataFrame with the time as its index.

    Its columns have two levels, value and product: `frame["close"]` has a column a product. A
    product without a candle has NaN. `table` has the columns `product` and `time`.
    """
    values = [name for name in table.column_names if name not in (_PRODUCT, _TIME)]
    return _to_pandas(table).pivot(index=_TIME, columns=_PRODUCT, values=values)


def _to_pandas(table: pa.Table) -> Any:
    """Return a DataFrame that takes the memory of the table, which is not usable any more."""
    return table.to_pandas(split_blocks=True, self_destruct=True)


def _to_duckdb(table: pa.Table) -> Any:
    # DuckDB's own connection: a relation does not keep another one open in all versions.
    return import_module("duckdb").from_arrow(table)


_LIBRARIES: Mapping[str, Callable[[pa.Table], Any]] = {
    "pandas": _to_pandas,
    "polars": lambda table: import_module("polars").from_arrow(table),
    "arrow": lambda table: table,
    "duckdb": _to_duckdb,
}
