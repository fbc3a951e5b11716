"""The errors of the storage.

StorageError
├── AzuriteError      Azurite, the Azure emulator, could not be installed or started
├── BlobChanged       another writer has changed the blob
├── BlobDamaged       the blob's bytes are damaged, or its columns are not those declared
└── PartitionMissing  the partition has no blob
"""

from coinbase_assets.environment.secrets import public


class StorageError(Exception):
    """The storage account refused a request, failed, or could not be reached.

    The message is one line, without secrets.
    """

    def __init__(self, message: str) -> None:
        super().__init__(public(message))


class AzuriteError(StorageError):
    """Azurite could not be installed or started."""


class BlobChanged(StorageError):
    """Another writer has changed the blob since it was listed or read."""


class BlobDamaged(StorageError):
    """The blob's bytes are damaged, or its columns are not those declared."""


class PartitionMissing(StorageError):
    """The partition has no blob."""
