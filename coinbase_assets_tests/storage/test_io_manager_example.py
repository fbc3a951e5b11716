"""The example project of the IO manager, run as it is."""

import importlib.util
from pathlib import Path
from types import ModuleType

import dagster as dg
import pandas as pd
import polars as pl
import pytest
from azure.storage.blob import BlobServiceClient

from coinbase_assets.dagster_instance.deployment import SILENT
from coinbase_assets.storage.azure_blobs import AzureBlobs
from coinbase_assets.storage.parquet_store import ParquetStore

ROOT = Path(__file__).parents[2]
FILE = ROOT / "examples/azure_parquet/definitions.py"


@pytest.fixture
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("azure_parquet_example", FILE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_example_stores_its_tables(
    example: ModuleType,
    connection_string: str,
    in_memory: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", connection_string)
    days = example.DAYS.get_partition_keys()
    job = example.defs.resolve_implicit_global_asset_job_def()
    for names, key in [
        ("stations", None),
        *(("temperatures", day) for day in days),
        ("means", None),
    ]:
        job.execute_in_process(
            instance=in_memory,
            asset_selection=[dg.AssetKey(names)],
            partition_key=key,
            run_config=SILENT,
        )
    with BlobServiceClient.from_connection_string(connection_string) as service:
        store = ParquetStore(AzureBlobs(service, "weather"))
        assert list(store.list("")) == [
            "alps/means/data.parquet",
            "alps/stations/data.parquet",
            *(f"alps/temperatures/partition={day}/data.parquet" for day in days),
        ]
        means = pl.from_arrow(store.get("alps/means/data.parquet"))
        stations: pd.DataFrame = store.get("alps/stations/data.parquet").to_pandas()
    assert isinstance(means, pl.DataFrame)
    assert means["station"].to_list() == ["Fichtelberg", "Zugspitze"] == list(stations.index)
    assert means["celsius"].round(2).to_list() == [6.91, -4.71]
