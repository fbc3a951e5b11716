"""The IO manager of the lake."""

from typing import ClassVar

from coinbase_assets.candles.blob_rules import LakeRules
from coinbase_assets.storage.blob_rules import BlobRules
from coinbase_assets.storage.io_manager import AzureParquetIOManager


class CandleLake(AzureParquetIOManager):
    """An AzureParquetIOManager that treats damaged blobs of the lake as missing."""

    rules: ClassVar[BlobRules | None] = LakeRules()
