"""The IO manager of the lake."""

from typing import ClassVar

from coinbase_assets.candles.blob_rules import LakeRules
from coinbase_assets.storage.blob_rules import BlobRules
from coinbase_assets.storage.io_manager import AzureParquetIOManager
from coinbase_assets.storage.table_sizes import MOST_BYTES


class CandleLake(AzureParquetIOManager):
    """An AzureParquetIOManager that treats damaged blobs of the lake as missing."""

    rules: ClassVar[BlobRules | None] = LakeRules()
    # A month of 1m candles takes 8.
    max_partition_mib: int = MOST_BYTES // 2**20
