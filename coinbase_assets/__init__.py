"""Complete Coinbase candle history in your own Azure storage, collected by Dagster assets."""

from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coinbase_assets.components.candle_assets import candle_assets
    from coinbase_assets.components.candle_options import AlertOptions, CandleAsset
    from coinbase_assets.components.component import CoinbaseCandlesComponent
    from coinbase_assets.exchange.resource import ExchangeResource
    from coinbase_assets.lake.errors import CandlesMissing, InvalidRequest, SeriesNotFound
    from coinbase_assets.lake.reader import Lake, read_candles, read_candles_arrow
    from coinbase_assets.settings import SettingsError
    from coinbase_assets.storage.errors import StorageError
    from coinbase_assets.storage.io_manager import AzureParquetIOManager
    from coinbase_assets.storage.resource import AzureStorageResource

    __version__: str

_MODULES = {
    "AlertOptions": "components.candle_options",
    "AzureParquetIOManager": "storage.io_manager",
    "AzureStorageResource": "storage.resource",
    "CandleAsset": "components.candle_options",
    "CandlesMissing": "lake.errors",
    "CoinbaseCandlesComponent": "components.component",
    "ExchangeResource": "exchange.resource",
    "InvalidRequest": "lake.errors",
    "Lake": "lake.reader",
    "SeriesNotFound": "lake.errors",
    "SettingsError": "settings",
    "StorageError": "storage.errors",
    "candle_assets": "components.candle_assets",
    "read_candles": "lake.reader",
    "read_candles_arrow": "lake.reader",
}
__all__ = [
    "AlertOptions",
    "AzureParquetIOManager",
    "AzureStorageResource",
    "CandleAsset",
    "CandlesMissing",
    "CoinbaseCandlesComponent",
    "ExchangeResource",
    "InvalidRequest",
    "Lake",
    "SeriesNotFound",
    "SettingsError",
    "StorageError",
    "__version__",
    "candle_assets",
    "read_candles",
    "read_candles_arrow",
]


def __dir__() -> list[str]:
    """Name what is imported on first use, too: `dg list components` looks for it here."""
    return [*globals(), *_MODULES]


def __getattr__(name: str) -> Any:
    """Import the reader of the lake on first use, since most commands start faster without it."""
    if name == "__version__":
        return metadata.version("coinbase-assets")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"coinbase_assets.{_MODULES[name]}"), name)
