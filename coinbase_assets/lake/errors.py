"""The StorageError that readers raise for what the lake does not hold."""

from coinbase_assets.storage.errors import StorageError


class SeriesNotFound(StorageError):
    """The lake holds no history of the series."""
