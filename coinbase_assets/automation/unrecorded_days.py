"""Days that a killed process has stored, but not recorded."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import dagster as dg

from coinbase_assets.candles.datasets import RAW_CANDLES, dataset_of
from coinbase_assets.dagster_instance.run_tags import partitions_of
from coinbase_assets.storage.blob_metadata import blob_metadata

if TYPE_CHECKING:
    from coinbase_assets.storage.parquet_store import ParquetStore


def unrecorded_days(
    instance: dg.DagsterInstance, store: "ParquetStore", run_id: str
) -> Iterator[dg.AssetMaterialization]:
    """Yield a record of each raw day of the run that is stored, but not recorded.

    Only the days of the run are listed. Raises StorageError.
    """
    run = instance.get_run_by_id(run_id)
    keys = partitions_of(run.tags) if run else []
    for asset in (run and run.asset_selection) or ():
        dataset, series = dataset_of(asset.path) or (None, None)
        if keys and dataset == RAW_CANDLES:
            path = RAW_CANDLES.path(series)
            recorded = instance.get_materialized_partitions(asset)
            for day, blob in sorted(store.find_partitions(path, {*keys} - recorded).items()):
                metadata = blob_metadata(store.uri(blob.path), blob)
                yield dg.AssetMaterialization(asset, partition=day, metadata=metadata)
