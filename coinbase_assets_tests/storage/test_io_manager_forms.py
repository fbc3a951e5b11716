"""The forms of tables that assets return and ask for: Polars, Arrow, readers, None."""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any, Optional

import dagster as dg
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from coinbase_assets.dagster_instance.deployment import SILENT
from coinbase_assets.storage.declared_columns import check_input_columns, check_output_columns
from coinbase_assets.storage.errors import StorageError
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets.table_metadata import with_fields
from coinbase_assets_tests.running import partition_metadata
from coinbase_assets_tests.storage.prices import (
    DAYS,
    FIRST,
    KEYS,
    THREE_DAYS,
    Reader,
    Runner,
    numbers,
    prices,
    rows,
)
from coinbase_assets_tests.storage.round_trips import round_trip

POLARS = pl.DataFrame(
    {
        "site": pl.Series(["a", "b"], dtype=pl.Categorical),
        "level": pl.Series(["low", "high"], dtype=pl.Enum(["low", "high"])),
        "price": [Decimal("1.25"), None],
        "at": pl.Series([datetime(2024, 1, 1), None]).dt.replace_time_zone("Europe/Berlin"),
        "sizes": [[1], [2, 3]],
        "place": [{"x": 1}, {"x": 2}],
        "note": ["ä", None],
    }
)
TWO = pa.table({"n": [1, 2], "m": ["a", "b"]})


class Stream:
    """Any library's table: it has Arrow's C stream."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return TWO.__arrow_c_stream__(requested_schema)


TYPES: dict[str, pa.Array] = {
    "decimal": pa.array([Decimal("1.23"), None]),
    "wide_decimal": pa.array([Decimal("1.23"), None], pa.decimal256(50, 2)),
    "dictionary": pa.array(["a", "b"]).dictionary_encode(),
    "number_dictionary": pa.array([5, 6]).dictionary_encode(),
    "nanoseconds": pa.array([1, 2], pa.timestamp("ns", "Europe/Berlin")),
    "seconds": pa.array([1, 2], pa.timestamp("s")),
    "naive": pa.array([1, 2], pa.timestamp("us")),
    "duration": pa.array([1, 2], pa.duration("ns")),
    "date": pa.array([1, 2], pa.date32()),
    "date64": pa.array([86_400_000, 0], pa.date64()),
    "time": pa.array([1, 2], pa.time64("ns")),
    "time_seconds": pa.array([1, 2], pa.time32("s")),
    "list": pa.array([[1], [2, 3]]),
    "fixed_list": pa.array([[1, 2], [3, 4]], pa.list_(pa.int64(), 2)),
    "struct": pa.array([{"a": [1], "b": "x"}, None]),
    "map": pa.array([[("k", 1)], []], pa.map_(pa.string(), pa.int64())),
    "binary": pa.array([b"a", b"\xff"]),
    "fixed_binary": pa.array([b"ab", b"cd"], pa.binary(2)),
    "view": pa.array(["a", "b"], pa.string_view()),
    "half": pa.array([1.0, 2.0], pa.float16()),
    "unsigned": pa.array([2**63, 2], pa.uint64()),
    "null": pa.nulls(2),
    "bool": pa.array([True, None]),
    "a.b": pa.array([1, 2]),
    "größe": pa.array([1, 2]),
}


def test_arrow_types_round_trip(run: Runner) -> None:
    table = pa.table(TYPES).replace_schema_metadata({"größe": "日本", "b": "\n x"})
    (found,) = round_trip(run, {"typed": table}, pa.Table).values()
    for name in table.column_names:
        assert found.schema.field(name).type == table.schema.field(name).type, name
    assert found.equals(table)
    assert found.schema.metadata == table.schema.metadata


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (pl.DataFrame({"n": pl.Series([object()], dtype=pl.Object)}), "'n' holds Python objects"),
        (pl.DataFrame({"n": pl.Series([1], dtype=pl.Int128)}), "DataFrame cannot be stored.*cast"),
        (pd.Series([1], name="n"), "Series"),
        (pl.Series("n", [1]), "Series"),
        (pa.table([[1], [2]], names=["n", "n"]), "two columns have the same name"),
        ("text", "cannot store a str; return a pandas or Polars DataFrame"),
    ],
)
def test_unstorable_value_is_one_line(value: object, message: str, run: Runner) -> None:
    with pytest.raises(StorageError, match=f"^prices: .*{message}") as raised:
        run(prices(lambda c: value, None))
    assert "\n" not in str(raised.value)


def test_unstorable_type_is_one_line(run: Runner) -> None:
    table = pa.table({"n": pa.array([(1, 2, 3)], pa.month_day_nano_interval())})
    with pytest.raises(StorageError, match=r"prices/data\.parquet: .*month_day_nano.*cast or drop"):
        run(prices(lambda c: table, None))


@pytest.mark.both_addresses
def test_polars_round_trip(run: Runner) -> None:
    values = {"eager": POLARS, "lazy": POLARS.lazy()}
    for kind in (pl.DataFrame, Any):
        found = round_trip(run, values, kind)
        assert {type(frame) for frame in found.values()} == {pl.DataFrame}
        assert all(frame.equals(POLARS) for frame in found.values())
        assert all(frame.schema == POLARS.schema for frame in found.values())
    lazy = round_trip(run, values, pl.LazyFrame)["lazy"]
    assert isinstance(lazy, pl.LazyFrame)
    assert lazy.filter(pl.col("note") == "ä").collect().height == 1


def test_arrow_forms_round_trip(run: Runner) -> None:
    batch = TWO.to_batches()[0]

    def values() -> dict[str, object]:
        return {"batch": batch, "reader": TWO.to_reader(max_chunksize=1), "stream": Stream()}

    assert all(table == TWO for table in round_trip(run, values(), pa.Table).values())
    readers = round_trip(run, values(), pa.RecordBatchReader)
    assert all(reader.read_all() == TWO for reader in readers.values())


@pytest.mark.parametrize("value", [TWO.to_reader(), POLARS.lazy()], ids=["reader", "LazyFrame"])
def test_single_output_forms(value: Any, run: Runner) -> None:
    reader = Reader(pa.Table)
    run(prices(lambda c: value, None), reader.asset)
    assert reader.value.num_rows == 2


def test_joined_polars_partitions(run: Runner) -> None:
    reader = Reader(pl.DataFrame, DAYS)
    run(prices(lambda c: dict.fromkeys(KEYS, POLARS)), reader.asset, keys=THREE_DAYS)
    assert reader.value.height == 6
    assert reader.value["price"].to_list() == POLARS["price"].to_list() * 3


@pytest.mark.parametrize("keys", [FIRST, THREE_DAYS])
def test_iterator_of_tables_is_refused(keys: Any, run: Runner) -> None:
    def tables() -> Iterator[pa.Table]:
        yield TWO

    with pytest.raises(StorageError, match="iterator yields a Table; let it yield"):
        run(prices(lambda c: dg.Output(tables())), keys=keys)


def optional_prices(value: object, kind: Any) -> dg.AssetsDefinition:
    def compute() -> object:
        return value

    compute.__annotations__["return"] = kind
    return dg.asset(name="prices")(compute)


@pytest.mark.both_addresses
def test_none_replaces_table(run: Runner, lake: ParquetStore) -> None:
    kinds = [pd.DataFrame | None, Optional[pa.Table], Any]  # noqa: UP045 (both spellings)
    for value in (rows(1), None):
        readers = [Reader(kind) for kind in kinds]
        asset = optional_prices(value, pa.Table | None)
        run(asset, *(reader.asset for reader in readers))
        assert [reader.value is None for reader in readers] == [value is None] * 3
    assert partition_metadata(run(asset))["None"]["is_none"] is True
    with pytest.raises(StorageError, match=r"data\.parquet: holds None; annotate"):
        run(asset, (reader := Reader(pa.Table)).asset, only=reader.asset)


def test_missing_partitions_are_none_where_allowed(run: Runner) -> None:
    reader = Reader(pa.Table | None, DAYS, allow_missing_partitions=True)
    asset = prices(lambda c: rows(1))
    run(asset, reader.asset, only=reader.asset, keys=FIRST)
    assert reader.value is None


def test_bare_mapping_holds_what_was_stored(run: Runner) -> None:
    reader = Reader(dict, DAYS)
    outputs = dict(zip(KEYS, [rows(1), rows(2).to_pandas(), POLARS], strict=True))
    run(prices(lambda c: outputs), reader.asset, keys=THREE_DAYS)
    assert [type(each) for each in reader.value.values()] == [pa.Table, pd.DataFrame, pl.DataFrame]


def test_none_without_annotation_is_refused(run: Runner) -> None:
    with pytest.raises(StorageError, match=r"prices: the output is None.*\| None"):
        run(prices(lambda c: None, None))


def test_joined_partitions_skip_none(run: Runner) -> None:
    @dg.asset(name="prices", partitions_def=DAYS)
    def asset() -> dict[str, pa.Table | None]:
        return {KEYS[0]: rows(1), KEYS[1]: None, KEYS[2]: rows(3)}

    whole = Reader(pa.Table | None, DAYS)
    by_key = Reader(dict[str, pa.Table | None], DAYS)
    run(asset, whole.asset, by_key.asset, keys=THREE_DAYS)
    assert numbers(whole.value) == [1, 3]
    assert by_key.value[KEYS[1]] is None


def test_column_schema_as_text_is_no_declaration(run: Runner) -> None:
    """Dagster itself refuses such a text of an asset, but not that of an op."""
    described = {"dagster/column_schema": "number: how many"}
    for metadata in (described, {"dagster/column_schema": dg.MetadataValue.text("a number")}):
        check_output_columns("prices", TWO.schema, metadata)
        check_input_columns("prices", TWO.schema, metadata)

    @dg.op(out=dg.Out(metadata=described))
    def made() -> pa.Table:
        return rows(1)

    job = dg.GraphDefinition("described", node_defs=[made]).to_job(
        resource_defs={"io_manager": run.io_manager}
    )
    assert job.execute_in_process(instance=run.instance, run_config=SILENT).success


def test_version_metadata_of_users_is_theirs(run: Runner) -> None:
    run(prices(lambda c: dg.Output(rows(1), metadata={"version": "1.2.0"}), None))


def test_fields_may_have_any_text(run: Runner, lake: ParquetStore) -> None:
    fields = {"größe": "日本", "two words": " a\nb ", "UPPER": "1", "other_fields": "x", "by": "me"}
    run(prices(lambda c: with_fields(rows(1), fields), None))
    (blob,) = lake.list("").values()
    assert {name: blob.fields[name] for name in fields} == fields
    assert not blob.is_outdated
