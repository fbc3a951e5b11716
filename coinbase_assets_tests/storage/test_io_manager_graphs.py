"""Ops, graph assets, self-dependent and mapped partitions."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from coinbase_assets.dagster_instance.deployment import SILENT
from coinbase_assets.storage.errors import PartitionMissing
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets.storage.partition_tables import PartitionTables
from coinbase_assets_tests.running import partition_metadata
from coinbase_assets_tests.storage.prices import (
    DAYS,
    FIRST,
    SECOND,
    Reader,
    Runner,
    numbers,
    prices,
    rows,
)

PREVIOUS = dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1)


def running_total(kind: Any, seen: list[Any], name: str = "total") -> dg.AssetsDefinition:
    """Return an asset whose input is its own previous partition."""

    def compute(before: Any) -> pa.Table:
        seen.append(dict(before) if isinstance(before, PartitionTables) else before)
        return rows(len(seen))

    compute.__annotations__["before"] = kind
    own = dg.AssetIn(name, partition_mapping=PREVIOUS)
    return dg.asset(name=name, partitions_def=DAYS, ins={"before": own})(compute)


@pytest.mark.both_addresses
def test_self_dependent_partition_starts(run: Runner) -> None:
    kinds = [pa.Table | None, pd.DataFrame | None, Mapping[str, pa.Table], PartitionTables]
    seen: list[list[Any]] = [[] for _ in kinds]
    assets = [
        running_total(kind, loaded, f"total_{number}")
        for number, (kind, loaded) in enumerate(zip(kinds, seen, strict=True))
    ]
    for key in (FIRST, SECOND):
        run(*assets, keys=key)
    assert [first for first, _ in seen] == [None, None, {}, {}]
    assert [len(second) for _, second in seen] == [1, 1, 1, 1]


def test_self_dependent_partition_names_remedy(run: Runner) -> None:
    with pytest.raises(PartitionMissing, match=r"total: no partition.*\| None"):
        run(running_total(pa.Table, []), keys=FIRST)


@dg.op
def numbers_op() -> pd.DataFrame:
    return pd.DataFrame({"number": [1, 2]}, index=pd.Index(["a", "b"], name="site"))


@dg.op(out={"low": dg.Out(), "high": dg.Out()})
def split_op(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    assert frame.index.name == "site"
    return frame[:1], frame[1:]


@dg.op
def joined_op(parts: list[pd.DataFrame]) -> pl.DataFrame:
    return pl.from_pandas(pd.concat(parts))


@dg.op(out=dg.DynamicOut())
def parts_op() -> Any:
    for name in ("a", "b/c"):
        yield dg.DynamicOutput(rows(len(name)), mapping_key=name.replace("/", "_"))


@dg.op
def doubled_op(part: pa.Table) -> pa.Table:
    return rows(*(2 * number for number in numbers(part)))


@dg.op
def collected_op(parts: list[pa.Table]) -> pa.Table:
    return pa.concat_tables(parts)


@dg.graph
def joined_numbers() -> Any:
    low, high = split_op(numbers_op())
    return joined_op([low, high])


@pytest.mark.both_addresses
def test_ops_pass_tables(run: Runner, lake: ParquetStore) -> None:
    job = joined_numbers.to_job(resource_defs={"io_manager": run.io_manager})
    result = job.execute_in_process(instance=run.instance, run_config=SILENT)
    assert result.success
    folder = f"op_outputs/{result.run_id}"
    assert list(lake.list("")) == [
        f"{folder}/joined_op/result/data.parquet",
        f"{folder}/numbers_op/result/data.parquet",
        f"{folder}/split_op/high/data.parquet",
        f"{folder}/split_op/low/data.parquet",
    ]


def test_dynamic_ops_pass_tables(run: Runner, lake: ParquetStore) -> None:
    @dg.job(resource_defs={"io_manager": run.io_manager})
    def dynamic() -> None:
        collected_op(parts_op().map(doubled_op).collect())

    result = dynamic.execute_in_process(instance=run.instance, run_config=SILENT)
    path = f"op_outputs/{result.run_id}/collected_op/result/data.parquet"
    assert numbers(lake.get(path)) == [2, 6]
    assert len(lake.list("")) == 5


@pytest.mark.parametrize("key", [None, FIRST])
def test_graph_asset_stores_its_result(key: str | None, run: Runner, lake: ParquetStore) -> None:
    @dg.graph_asset(name="prices", partitions_def=DAYS if key else None)
    def asset() -> Any:
        return doubled_op(joined_op([numbers_op()]))

    reader = Reader(pa.Table, DAYS if key else None)
    run(asset, reader.asset, keys=key)
    assert numbers(reader.value) == [2, 4]
    result = run(asset, keys=key)
    assert partition_metadata(result)[str(key)]["dagster/row_count"] == 2
    own = [path for path in lake.list("") if not path.startswith("op_outputs/")]
    assert own == [f"prices/partition={key}/data.parquet" if key else "prices/data.parquet"]


HOURS = dg.HourlyPartitionsDefinition("2024-01-01-00:00", end_date="2024-01-02-00:00")
MONTHS = dg.MonthlyPartitionsDefinition("2024-01-01", end_date="2024-04-01")


@pytest.mark.parametrize(
    ("partitions", "keys", "path"),
    [
        (HOURS, "2024-01-01-05:00", "prices/partition=2024-01-01-05%3A00/data.parquet"),
        (MONTHS, "2024-02-01", "prices/partition=2024-02-01/data.parquet"),
    ],
)
def test_hours_and_months(
    partitions: Any, keys: Any, path: str, run: Runner, lake: ParquetStore
) -> None:
    reader = Reader(pl.DataFrame, partitions)
    run(prices(lambda c: rows(1), partitions), reader.asset, keys=keys)
    assert reader.value["number"].to_list() == [1]
    assert list(lake.list("")) == [path]


def test_week_joins_its_days(run: Runner, lake: ParquetStore) -> None:
    weeks = dg.WeeklyPartitionsDefinition("2024-01-07", end_date="2024-01-21")

    @dg.asset(partitions_def=weeks)
    def week(prices: pd.DataFrame) -> pa.Table:
        return rows(len(prices), int(prices["number"].sum()))

    @dg.asset
    def everything(week: dict[str, pa.Table]) -> pa.Table:
        return rows(*(number for table in week.values() for number in numbers(table)))

    asset = prices(lambda c: dict.fromkeys(c.partition_keys, rows(2)))
    run(asset, keys=("2024-01-07", "2024-01-20"))
    for key in weeks.get_partition_keys():
        run(asset, week, only=week, keys=key)
    run(asset, week, everything, only=everything)
    assert numbers(lake.get("everything/data.parquet")) == [7, 14, 7, 14]
