"""What can be mended in the lake without the exchange and without a run."""

import zlib
from collections.abc import Sequence
from contextlib import suppress
from datetime import date
from typing import TYPE_CHECKING

from coinbase_assets.lake.inventory import Inventory
from coinbase_assets.storage.concurrency import map_concurrently
from coinbase_assets.storage.errors import BlobChanged
from coinbase_assets.storage.stored_blob import StoredBlob
from coinbase_assets.table_metadata import with_fields

if TYPE_CHECKING:
    from coinbase_assets.storage.parquet_store import ParquetStore

# A night's share: every file is read once within so many days, ...
_DAYS = 30
# ... unless that takes more files of a series a night.
_MOST_A_NIGHT = 2_000


def mend(store: "ParquetStore", inventory: Inventory) -> None:
    """Restore metadata that does not belong to its file, and record lost revisions.

    Raises StorageError.
    """
    for blob in inventory.outdated:
        store.restore_metadata(blob)
    for day, count in inventory.lost_revisions.items():
        blob = inventory.days[day]
        left = int(blob.fields["revisions"]) - count
        lost = int(blob.fields.get("revisions_lost", 0)) + count
        fields = {"revisions": str(left), "revisions_lost": str(lost)}
        with suppress(BlobChanged):
            store.put(blob.path, with_fields(store.get(blob.path), fields), blob)


def share_of_night(blobs: Sequence[StoredBlob], night: date) -> Sequence[StoredBlob]:
    """Return the blobs that are verified in that night."""
    turn = night.toordinal() % _DAYS
    return [blob for blob in blobs if zlib.crc32(blob.path.encode()) % _DAYS == turn][
        :_MOST_A_NIGHT
    ]


def verify(store: "ParquetStore", blobs: Sequence[StoredBlob]) -> Sequence[str]:
    """Read the blobs, and return the paths of damaged ones, which count as missing from now on.

    Raises StorageError.
    """
    damaged = [blob for blob in map_concurrently(store.examine, blobs) if blob.damage]
    for blob in damaged:
        store.distrust(blob)
    return [blob.path for blob in damaged]
