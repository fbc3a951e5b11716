"""Why a table could not be kept or found.

StorageError
├── AzuriteError      the emulator could not be installed or started
├── BlobChanged       somebody else wrote the blob since it was looked at
├── BlobDamaged       its bytes, or its columns, are not what they should be
└── PartitionMissing  it was never stored
"""

import re

_SIGNATURE = re.compile(r"(sig=)[^&\s]+", re.IGNORECASE)


class StorageError(Exception):
    """The storage account refused, failed or could not be reached."""


class AzuriteError(StorageError):
    """The embedded emulator could not be installed or started."""


class BlobChanged(StorageError):
    """The blob is no longer the one the put was to replace."""


class BlobDamaged(StorageError):
    """The blob's bytes are damaged, or hold another schema than declared."""


class PartitionMissing(StorageError):
    """A partition that is asked for has no blob."""


def without_signature(text: str) -> str:
    """The text, which may name a URL, without the signature of a SAS token."""
    return _SIGNATURE.sub(r"\1...", text)
