"""The error that readers of the lake raise besides the StorageErrors of the storage itself."""

from coinbase_assets.storage.errors import StorageError


class SeriesNotFound(StorageError):
    """The lake holds no history of the series."""
