"""The errors of the readers: what the lake does not hold, and files of others."""

from coinbase_assets.storage.errors import StorageError


class SeriesNotFound(StorageError):
    """The lake holds no history of the series."""


class CandleFileError(Exception):
    """A file of candles cannot be read. The message names the value, the rule and the remedy."""
