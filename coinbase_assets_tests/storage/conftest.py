"""What the tests of the IO manager share: a Dagster instance, and runs in it."""

from collections.abc import Iterator

import dagster as dg
import pytest

from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets.storage.resource import AzureStorageResource
from coinbase_assets_tests.storage.prices import Runner, lake_of


@pytest.fixture(scope="module")
def in_memory() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance for all tests; creating one takes longer than most tests."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def run(lake: ParquetStore, connection_string: str, in_memory: dg.DagsterInstance) -> Runner:
    storage = AzureStorageResource(connection_string=connection_string)
    return Runner(lake_of(storage), in_memory)
