"""pandas DataFrames through the IO manager: indices, labels, types."""

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from coinbase_assets.storage.errors import StorageError
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.storage.prices import (
    DAYS,
    FIRST,
    KEYS,
    SECOND,
    THREE_DAYS,
    Reader,
    Runner,
    prices,
)
from coinbase_assets_tests.storage.round_trips import round_trip

TIMES = pd.to_datetime(["2024-01-01T00:00", "2024-01-01T00:15"], utc=True)
FRAME = pd.DataFrame({"time": TIMES, "price": [1.5, 2.5]})

INDEXED = {
    "named": FRAME.set_index("time"),
    "several": FRAME.assign(site="a").set_index(["site", "time"]),
    "partly_named": FRAME.assign(site="a").set_index(["site", "time"]).rename_axis(["site", None]),
    "unnamed_texts": FRAME.set_axis(["a", "b"]),
    "filtered": pd.DataFrame({"price": [1.5, 2.5, 0.5, 3.5]}).iloc[[0, 1, 3]],
    "stepped": FRAME.iloc[1:],
    "named_range": FRAME.rename_axis("number"),
    "categorical": FRAME.set_index(pd.CategoricalIndex(["a", "b"], name="site")),
    "as_a_column": FRAME.set_index(pd.Index([7, 8], name="price")),
    "zoned": FRAME.set_index(FRAME["time"].dt.tz_convert("Europe/Berlin")),
    "no_columns": FRAME.set_index("time")[[]],
    "no_rows": FRAME.set_index("time").iloc[:0],
    "plain": FRAME,
    "nothing": pd.DataFrame(),
}

TYPED = pd.DataFrame(
    {
        "site": pd.Categorical(["b", "a"], categories=["z", "b", "a"], ordered=True),
        "floor": pd.Categorical([5, 6]),
        "share": pd.array([1, None], dtype="Int64"),
        "is_open": pd.array([True, None], dtype="boolean"),
        "second": pd.to_datetime([1, 2], unit="s").astype("datetime64[s]"),
        "nanosecond": pd.to_datetime([1, 2], unit="ns", utc=True),
        "zoned": TIMES.tz_convert("Asia/Tokyo"),
        "lasts": pd.to_timedelta([1, 2], unit="s"),
        "month": pd.period_range("2024-01", periods=2, freq="M"),
        "between": pd.interval_range(0, 2),
        "größe": ["ä", None],
    }
)


@pytest.mark.both_addresses
def test_frame_index_round_trip(run: Runner) -> None:
    for kind in (pd.DataFrame, Any):
        for name, frame in round_trip(run, INDEXED, kind).items():
            pd.testing.assert_frame_equal(frame, INDEXED[name], obj=name)


def test_frame_types_round_trip(run: Runner) -> None:
    (frame,) = round_trip(run, {"typed": TYPED}, pd.DataFrame).values()
    pd.testing.assert_frame_equal(frame, TYPED)


def test_frame_index_is_stored_as_columns(run: Runner) -> None:
    tables = round_trip(run, {n: INDEXED[n] for n in ("named", "named_range", "plain")}, pa.Table)
    assert {name: table.column_names for name, table in tables.items()} == {
        "named": ["price", "time"],
        "named_range": ["time", "price", "number"],
        "plain": ["time", "price"],
    }
    assert not any(key.startswith(b"azure_parquet") for key in tables["named"].schema.metadata)


def test_input_columns_keep_index(run: Runner) -> None:
    frames = INDEXED["several"].assign(note="a")
    for columns in (["price"], ["note", "price"], ["note", "time"]):
        (frame,) = round_trip(run, {"wide": frames}, pd.DataFrame, columns=columns).values()
        assert frame.index.names == ["site", "time"]
        assert list(frame.columns) == [name for name in columns if name != "time"]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({0: [1]}), r"label 0 is not a text.*str\(label\)"),
        (pd.DataFrame({("a", 1): [1]}), "MultiIndex.*join"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "[Dd]uplicate.*'a'"),
        (pd.DataFrame({"a": [1]}, index=pd.Index([7], name=0)), "name 0 .*index.*str"),
        (pd.DataFrame({"a": [1, "b"]}), "column a .*convert"),
        (pd.DataFrame({"a": [1j]}), "column a .*convert"),
        (pd.DataFrame({"a": pd.Categorical([2, 1], ordered=True)}), "'a'.*int64.*texts"),
    ],
)
def test_frame_refusals_are_one_line(frame: pd.DataFrame, message: str, run: Runner) -> None:
    with pytest.raises(StorageError, match=message) as raised:
        run(prices(lambda context: frame, None))
    assert "prices" in str(raised.value)
    assert "\n" not in str(raised.value)


def joined(run: Runner, *frames: pd.DataFrame, kind: Any = pd.DataFrame) -> Any:
    """Return the input that joins these partitions, each as the frame says."""
    reader = Reader(kind, DAYS)
    asset = prices(lambda context: dict(zip(KEYS, frames, strict=True)))
    run(asset, reader.asset, keys=THREE_DAYS)
    return reader.value


@pytest.mark.parametrize("name", ["named", "several", "unnamed_texts", "filtered", "categorical"])
def test_joined_frames_keep_index(name: str, run: Runner) -> None:
    frames = [INDEXED[name]] * 3
    actual, expected = joined(run, *frames), pd.concat(frames)
    if name == "categorical":
        actual.index, expected.index = actual.index.astype(str), expected.index.astype(str)
    pd.testing.assert_frame_equal(actual, expected)


def test_joined_frames_keep_types_and_partly_filtered_index(run: Runner) -> None:
    numbers = pd.DataFrame({"share": pd.array([1, None, 3, 4], dtype="Int64")})
    filtered = numbers.iloc[[0, 2, 3]]
    frame = joined(run, numbers, filtered, numbers)
    pd.testing.assert_frame_equal(frame, pd.concat([numbers, filtered, numbers]))
    plain = joined(run, numbers, numbers.iloc[:0], numbers)
    pd.testing.assert_frame_equal(plain, pd.concat([numbers, numbers], ignore_index=True))


def test_joined_frames_promote_types(run: Runner) -> None:
    """Partitions of whole numbers, of others, and of none; two of them without a column."""
    frames = [pd.DataFrame({"n": [1], "x": ["a"]}), pd.DataFrame({"n": [1.5]})]
    frame = joined(run, *frames, pd.DataFrame({"n": [None]}))
    assert frame["n"].dtype == np.float64
    assert frame["x"].tolist()[0] == "a"
    assert frame["x"].isna().tolist() == [False, True, True]


@pytest.mark.parametrize("kind", [pd.DataFrame, pa.Table, pl.DataFrame])
def test_joined_partitions_of_other_types_are_refused(kind: Any, run: Runner) -> None:
    whole, text = pd.DataFrame({"n": [1]}), pd.DataFrame({"n": ["a"]})
    message = f"'n' is int64 in partition {FIRST}, but (large_)?string in partition {SECOND}; store"
    with pytest.raises(StorageError, match=message):
        joined(run, whole, text, whole, kind=kind)


def test_joined_frames_of_other_indices_are_refused(run: Runner) -> None:
    named = FRAME.set_index("time")
    with pytest.raises(StorageError, match=rf"{FIRST} has the index \['time'\].*{SECOND}.*reset"):
        joined(run, named, FRAME.assign(time="a"), named)


def test_arrow_table_file_has_no_mark(run: Runner, lake: ParquetStore) -> None:
    run(prices(lambda context: pa.table({"n": [1]}), None))
    assert lake.get("prices/data.parquet").schema.metadata is None
