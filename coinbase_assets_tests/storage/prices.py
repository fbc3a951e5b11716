"""Assets with prices for the tests of the IO manager, and the runs that materialise them."""

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa

from coinbase_assets.dagster_instance.deployment import SILENT
from coinbase_assets.dagster_instance.failures import causes_raised
from coinbase_assets.dagster_instance.run_tags import range_tags
from coinbase_assets.plain_text import shown
from coinbase_assets.storage.io_manager import AzureParquetIOManager
from coinbase_assets.storage.partition_tables import PartitionTables
from coinbase_assets.table_metadata import with_fields

DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-06-01")
SITES = dg.StaticPartitionsDefinition(["north", "south", "west"])
GRID = dg.MultiPartitionsDefinition({"site": SITES, "day": DAYS})
KEYS = FIRST, SECOND, THIRD = "2024-01-01", "2024-01-02", "2024-01-03"
THREE_DAYS = (FIRST, THIRD)

TABLE = pa.table(
    {
        "time": pa.array([0, 60_000_000], pa.timestamp("us", "UTC")),
        "price": [1.5, None],
        "note": ["a", "b"],
    }
)

REQUIRED = dg.TableColumnConstraints(nullable=False)
DECLARED: dict[str, Any] = {
    "dagster/column_schema": dg.TableSchema(
        [
            dg.TableColumn("number", "int64"),
            dg.TableColumn("note", "string", constraints=REQUIRED),
            dg.TableColumn("share", "double"),
        ]
    )
}
GOOD = pa.table({"number": [1], "note": ["a"], "share": [0.5]})
OLD = GOOD.drop_columns("share")
BAD = {
    "missing column": GOOD.drop_columns("note"),
    "extra column": GOOD.append_column("more", GOOD["note"]),
    "other type": pa.table({"number": [1.5], "note": ["a"], "share": [0.5]}),
    "other order": GOOD.select(["note", "number", "share"]),
}

NESTED = "[" * 5000
FIELDS = {"version": "7", "settled": "true", "open": "false", "share": "0.5", "by": NESTED}
SHOWN = {"settled": True, "open": False, "share": "0.5", "by": shown(NESTED)}

NUMBER_COLUMN = dg.TableSchema([dg.TableColumn("number", "int64")])

Pairs = Iterator[tuple[str, Any]]


def rows(*numbers: int, version: int = 0) -> pa.Table:
    """Return a table that holds these numbers."""
    table = pa.table({"number": pa.array(numbers, pa.int64())})
    return with_fields(table, {"version": str(version)}) if version else table


def numbers(table: pa.Table) -> list[int]:
    return table["number"].to_pylist()


def path_of(day: str) -> str:
    return f"prices/partition={day}/data.parquet"


@dataclass
class Runner:
    """Materialises assets in one run: of one partition, or of a range from one key to another.

    A failure is raised as its cause.
    """

    io_manager: dg.ConfigurableIOManager
    instance: dg.DagsterInstance

    def __call__(
        self,
        *assets: dg.AssetsDefinition,
        keys: tuple[str, str] | str | None = None,
        only: dg.AssetsDefinition | None = None,
    ) -> dg.ExecuteInProcessResult:
        with causes_raised():
            return dg.materialize(
                assets,
                partition_key=keys if isinstance(keys, str) else None,
                tags=range_tags(*keys) if isinstance(keys, tuple) else None,
                selection=[only] if only else None,
                instance=self.instance,
                resources={"io_manager": self.io_manager},
                run_config=SILENT,
            )


def lake_of(storage: dg.ConfigurableResource) -> AzureParquetIOManager:
    return AzureParquetIOManager(storage=storage, container=os.environ["COINBASE_CONTAINER"])


def prices(
    output: Callable[[dg.AssetExecutionContext], object],
    partitions: dg.PartitionsDefinition | None = DAYS,
    **metadata: object,
) -> dg.AssetsDefinition:
    """Return an asset `prices` with this output."""
    asset = dg.asset(name="prices", partitions_def=partitions, metadata=metadata)
    return asset(lambda context: output(context))


def streamed(pairs: Callable[[], Pairs], **metadata: Any) -> dg.AssetsDefinition:
    """Return an asset `prices` whose partitions come from a generator."""
    return prices(lambda context: dg.Output(pairs(), metadata=metadata))


class Reader:
    """A downstream asset that keeps its input for the test to look at."""

    _numbers = itertools.count()

    def __init__(
        self,
        annotation: object,
        partitions: dg.PartitionsDefinition | None = None,
        **metadata: object,
    ) -> None:
        def reader(value: Any) -> None:
            self.kind = type(value)
            self.value: Any = dict(value) if isinstance(value, PartitionTables) else value

        reader.__annotations__["value"] = annotation
        self.asset = dg.asset(
            name=f"reader_{next(self._numbers)}",
            partitions_def=partitions,
            ins={"value": dg.AssetIn("prices", metadata=metadata)},
        )(reader)


def assert_is(actual: object, expected: pa.Table) -> None:
    """Check that a DataFrame or Table has the same rows and types."""
    if isinstance(actual, pd.DataFrame):
        pd.testing.assert_frame_equal(actual, expected.to_pandas())
        return
    assert isinstance(actual, pa.Table)
    # pandas returns texts as large_string.
    types = {field.name: str(field.type).removeprefix("large_") for field in actual.schema}
    assert types == {field.name: str(field.type) for field in expected.schema}
    assert actual.to_pylist() == expected.to_pylist()
