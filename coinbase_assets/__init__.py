"""Complete Coinbase candle history in your own Azure storage, collected by Dagster assets."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coinbase_assets.lake.reader import Lake, read_candles, read_candles_arrow

__all__ = ["Lake", "read_candles", "read_candles_arrow"]


def __getattr__(name: str) -> Any:
    """Import the reader of the lake on first use, since most commands start faster without it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("coinbase_assets.lake.reader"), name)
