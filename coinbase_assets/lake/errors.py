"""What reading the lake may raise besides a StorageError of the store itself."""

from coinbase_assets.storage.errors import StorageError


class SeriesNotFound(StorageError):
    """The lake has no history of the series that is asked for."""
