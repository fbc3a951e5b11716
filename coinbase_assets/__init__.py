"""Complete Coinbase candle history in your own Azure storage, collected by Dagster assets."""

from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coinbase_assets.lake.errors import CandlesMissing, InvalidRequest, SeriesNotFound
    from coinbase_assets.lake.reader import Lake, read_candles, read_candles_arrow
    from coinbase_assets.settings import SettingsError
    from coinbase_assets.storage.errors import StorageError

    __version__: str

_MODULES = {
    "CandlesMissing": "lake.errors",
    "InvalidRequest": "lake.errors",
    "Lake": "lake.reader",
    "SeriesNotFound": "lake.errors",
    "SettingsError": "settings",
    "StorageError": "storage.errors",
    "read_candles": "lake.reader",
    "read_candles_arrow": "lake.reader",
}
__all__ = [
    "CandlesMissing",
    "InvalidRequest",
    "Lake",
    "SeriesNotFound",
    "SettingsError",
    "StorageError",
    "__version__",
    "read_candles",
    "read_candles_arrow",
]


def __getattr__(name: str) -> Any:
    """Import the reader of the lake on first use, since most commands start faster without it."""
    if name == "__version__":
        return metadata.version("coinbase-assets")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"coinbase_assets.{_MODULES[name]}"), name)
