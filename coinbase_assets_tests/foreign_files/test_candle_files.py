"""Candle files of others: every format gives the same candles, and a bad file one clear line."""

import gzip
import json
import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import feather, parquet

from coinbase_assets.candles.series import parse_candle_series
from coinbase_assets.candles.table import SCHEMA
from coinbase_assets.foreign_files import foreign_table, text_formats
from coinbase_assets.foreign_files.candle_files import FileLayout, read_candle_files
from coinbase_assets.foreign_files.columns import parse_order
from coinbase_assets.foreign_files.errors import CandleFileError
from coinbase_assets_tests.hostile_strings import assert_plain
from coinbase_assets_tests.stand_in.tables import candle_table

START = datetime(2024, 1, 1, tzinfo=UTC)
MINUTES = FileLayout(parse_candle_series("ETH-EUR:1m"))
EXPECTED = candle_table(
    [START + timedelta(minutes=minute) for minute in (0, 1, 2, 5)],
    open=[1.1, 1.2, 1.3, 1.4],
    high=[2.1, 2.2, 2.3, 2.4],
    low=[0.1, 0.2, 0.3, 0.4],
    close=[1.5, 1.6, 1.7, 1.8],
    volume=[5.0, 6.0, 0.1 + 0.2, 7.0],
)
FRAME = EXPECTED.to_pandas()
FREQTRADE = FRAME.rename(columns={"time": "date"}).astype({"date": "datetime64[ms, UTC]"})
INDEXED = FREQTRADE.set_index("date")
UNNAMED = INDEXED.rename_axis(None)
HEADER, FIRST = "time,open,high,low,close,volume\n", "2024-01-01T00:00,1,2,1,1,5\n"


def arrays(per_second: int, *names: str) -> list[list[Any]]:
    """Return arrays as ccxt and the exchange answer them, newest first."""
    rows = FRAME.assign(time=FRAME["time"].astype("int64") // (1_000_000 // per_second))
    return [[int(time), *row] for time, *row in rows[list(names)].to_numpy().tolist()][::-1]


CCXT = arrays(1_000, *SCHEMA.names)
EXCHANGE = arrays(1, "time", "low", "high", "open", "close", "volume")
OBJECTS = [dict(zip(("T", "o", "h", "l", "c", "v"), row, strict=True)) for row in CCXT]
LINES = "".join(
    f"{json.dumps({'timestamp': row.pop('T'), **row})}\n" for row in map(dict.copy, OBJECTS)
)

WRITERS: dict[str, Callable[[Path], object]] = {
    "freqtrade.feather": lambda file: FREQTRADE.to_feather(file, compression="lz4"),
    "index.feather": lambda file: feather.write_feather(INDEXED, file),
    "freqtrade.json": lambda file: file.write_text(json.dumps(CCXT)),
    "freqtrade.json.gz": lambda file: file.write_bytes(gzip.compress(json.dumps(CCXT).encode())),
    "exchange.json": lambda file: file.write_text(json.dumps(EXCHANGE)),
    "texts.json": lambda file: file.write_text(json.dumps([[t, *map(str, r)] for t, *r in CCXT])),
    "mixed.json": lambda file: file.write_text(
        json.dumps([CCXT[0], [*map(str, CCXT[1])], *CCXT[2:]])
    ),
    "marked.json": lambda file: file.write_text(json.dumps(CCXT), "utf-8-sig"),
    "objects.json": lambda file: file.write_text(f"[{','.join(LINES.split(chr(10))[:-1])}]"),
    "lines.jsonl": lambda file: file.write_text(LINES),
    "lines.jsonl.gz": lambda file: file.write_bytes(gzip.compress(LINES.encode())),
    "pandas.csv": lambda file: FREQTRADE.to_csv(file, index=False),
    "numbered.csv": FREQTRADE.to_csv,
    "unnamed.csv": UNNAMED.to_csv,
    "header.csv.gz": lambda file: INDEXED.rename_axis("Open Time").to_csv(file),
    "upper.csv": lambda file: FRAME.rename(columns=str.upper).to_csv(file, index=False),
    "positional.csv": lambda file: FREQTRADE.to_csv(file, index=False, header=False),
    "marked.csv": lambda file: FREQTRADE.to_csv(file, index=False, encoding="utf-8-sig"),
    "spaces.csv": lambda file: file.write_text(
        "\n\nUnix, Open, High, Low, Close, Volume\r\n"
        + "".join(f"{', '.join(map(str, row))}\r\n" for row in CCXT)
    ),
    "table.parquet": lambda file: FRAME.to_parquet(file, index=False),
    "index.parquet": INDEXED.to_parquet,
    "unnamed.parquet": UNNAMED.to_parquet,
    "other zone.parquet": lambda file: FRAME.assign(
        time=FRAME["time"].dt.tz_convert("America/New_York")
    ).to_parquet(file),
    "no zone.parquet": lambda file: FRAME.assign(
        time=FRAME["time"].dt.tz_localize(None).astype("datetime64[ns]")
    ).to_parquet(file),
    "categories.parquet": lambda file: FRAME.astype(str).astype("category").to_parquet(file),
    "decimals.parquet": lambda file: FRAME.map(
        lambda value: Decimal(repr(value)) if isinstance(value, float) else value
    ).to_parquet(file),
    "floats.parquet": lambda file: FRAME.assign(
        time=FRAME["time"].astype("int64") / 1_000_000
    ).to_parquet(file),
}


@pytest.mark.parametrize("name", WRITERS)
def test_read_every_format(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / name)
    assert read_candle_files([tmp_path / name], MINUTES).equals(EXPECTED)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("given", [False, True])
def test_read_unit_of_numbers(unit: str, given: bool, tmp_path: Path) -> None:
    file, layout = tmp_path / "a.csv", FileLayout(MINUTES.series, time_unit=unit if given else None)
    FRAME.assign(time=FRAME["time"].dt.as_unit(unit).astype("int64")).to_csv(file, index=False)
    assert read_candle_files([file], layout).equals(EXPECTED)


@pytest.mark.parametrize(
    "texts",
    [
        ["2024-01-01", "2024-01-01 00:01", "2024-01-01T01:02:00+01:00", "2024-01-01T00:05:00.000Z"],
        ["2024-01-01T00:00Z", "2024-01-01T00:01Z", "2024-01-01T00:02Z", "2023-12-31T23:05-01:00"],
    ],
)
def test_read_iso_times_of_any_form(texts: list[str], tmp_path: Path) -> None:
    FRAME.assign(time=texts).to_csv(tmp_path / "a.csv", index=False)
    assert read_candle_files([tmp_path / "a.csv"], MINUTES).equals(EXPECTED)


@pytest.mark.parametrize("name", ["klines.csv", "klines.json"])
def test_read_columns_by_position(name: str, tmp_path: Path) -> None:
    rows = [[*row, 0, "x"] for row in EXCHANGE]
    pd.DataFrame(rows).to_csv(tmp_path / "klines.csv", index=False, header=False)
    (tmp_path / "klines.json").write_text(json.dumps(rows))
    layout = FileLayout(MINUTES.series, parse_order("time, low,high,OPEN,close,volume,-,-"))
    assert read_candle_files([tmp_path / name], layout).equals(EXPECTED)


def test_read_order_of_equal_prices_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[[1704067200, 1, 3, 1, 2, 5]]")
    found = read_candle_files([tmp_path / "a.json"], MINUTES).to_pylist()
    assert found == [{"time": START, "open": 1, "high": 3, "low": 1, "close": 2, "volume": 5}]


def test_read_weeks_begin_on_mondays(tmp_path: Path) -> None:
    weeks = FileLayout(parse_candle_series("ETH-EUR:1w"))
    (tmp_path / "a.csv").write_text(f"{HEADER}{FIRST}")
    assert read_candle_files([tmp_path / "a.csv"], weeks).num_rows == 1
    (tmp_path / "a.csv").write_text(f"{HEADER}{FIRST.replace('01-01', '01-02')}")
    with pytest.raises(CandleFileError, match="not on the 1w grid"):
        read_candle_files([tmp_path / "a.csv"], weeks)


def test_read_joins_overlapping_files(tmp_path: Path) -> None:
    FRAME.iloc[2:].to_parquet(tmp_path / "b.parquet")
    nearly = FRAME.iloc[:3].assign(volume=[5.0, 6.0, 0.3])
    nearly.to_csv(tmp_path / "a.csv", index=False)
    files = [tmp_path / "a.csv", tmp_path / "b.parquet"]
    assert read_candle_files(files, MINUTES).equals(EXPECTED)
    with pytest.raises(CandleFileError) as refused:
        read_candle_files(files, MINUTES, tolerance=0)
    assert str(refused.value) == (
        f"{files[0]}, {files[1]}: at 2024-01-01T00:02:00Z, volume is 0.3 in the first and"
        f" {0.1 + 0.2} in the second; give only the right file"
    )


PARQUET = FRAME.to_parquet()
BAD: dict[str, tuple[str, str | bytes, str]] = {
    "unknown format": (
        "a.xlsx",
        "x",
        "unknown format; the name must end with .parquet or .feather",
    ),
    "empty": ("a.csv", " \n", "is empty"),
    "header alone": ("a.csv", HEADER, "holds no candles"),
    "no array": ("a.json", "[]", "holds no candles"),
    "cut Parquet": ("a.parquet", PARQUET[:-9], "cannot be read as .parquet"),
    "damaged Parquet": ("a.parquet", PARQUET[:4] + b"?" * 400 + PARQUET[404:], "cannot be read as"),
    "binary Feather": ("a.feather", os.urandom(999), "cannot be read as .feather"),
    "binary CSV": ("a.csv", b"\xff\xfe\x00\n\x81" * 99, "cannot be read as .csv"),
    "binary JSON lines": ("a.jsonl", b"{\xff\xfe\x00\x81", "cannot be read as .jsonl"),
    "no gzip": ("a.csv.gz", HEADER, "cannot be read as .csv.gz"),
    "cut gzip": ("a.csv.gz", gzip.compress(os.urandom(999))[:-99], "cannot be read as .csv.gz"),
    "cut JSON": ("a.json", json.dumps(CCXT)[:-9], "not JSON: "),
    "deep JSON": ("a.json", "[" * 99_999, "nested deeper"),
    "deep JSON lines": ("a.jsonl", '{"a":' * 99_999, "cannot be read as .jsonl"),
    "JSON of something else": ("a.json", "[1, 2]", "is not a list of candles"),
    "rows of several lengths": (
        "a.json",
        "[[1, 2], [1]]",
        "row 2: [1] has 1 values, but row 1 has 2",
    ),
    "endless line": ("a.csv", "1" * 99_999, "its first line never ends"),
    "many columns": ("a.csv", "a," * 99, "has 100 columns, and the most is 64"),
    "no time column": ("a.csv", "a,b\nx,y\n", "no column is the time, among 'a, b'; name all"),
    "two times": ("a.csv", f"date,{HEADER}x,{FIRST}", "2 columns may be the time"),
    "other width": ("a.csv", "1704067200,1,2\n", "has 3 columns, not the 6 of time,open"),
    "ragged CSV": ("a.csv", f"{HEADER}{FIRST}1,2\n", "Expected 6 columns, got 2"),
    "missing time": ("a.jsonl", '{"time":1704067200,"o":1}\n{"o":1}\n', "no column is the high"),
    "null time": (
        "a.json",
        "[[1704067200,1,1,1,1,1],[null,1,1,1,1,1]]",
        "row 2: the time is missing",
    ),
    "invalid time": (
        "a.csv",
        f"{HEADER}{FIRST}\x1b[31m,1,1,1,1,1\n",
        "row 2: time '\\x1b[31m' is not",
    ),
    "no time at all": ("a.csv", f"{HEADER}{FIRST},1,1,1,1,1\n", "row 2: time '' is not a time"),
    "time of 1999": ("a.csv", f"{HEADER}{FIRST}1999-01-01,1,1,1,1,1\n", "row 2: time '1999-01-01"),
    "small number": (
        "a.json",
        "[[7, 1, 1, 1, 1, 1]]",
        "row 1: time 7 is not from 2000 to 2099 in s",
    ),
    "huge number": (
        "a.json",
        f"[[{'9' * 999}, 1, 1, 1, 1, 1]]",
        "row 1: time inf is not",
    ),
    "part of a second": ("a.json", "[[1704067200.5, 1, 1, 1, 1, 1]]", "is not a whole number"),
    "part of a microsecond": (
        "a.json",
        "[[1704067200000000001, 1, 1, 1, 1, 1]]",
        "row 1: time '1704067200000000001' is not a whole microsecond",
    ),
    "times of another type": (
        "a.json",
        "[[true, 1, 1, 1, 1, 1]]",
        "the times are of the type bool",
    ),
    "prices of another type": ("a.json", "[[1, true, 1, 1, 1, 1]]", "column open is of the type"),
    "mixed units": (
        "a.csv",
        f"{HEADER}1704067200,1,1,1,1,1\n1704067260000,1,1,1,1,1\n",
        "row 1 has its time in s, but row 2 in ms (1704067260000)",
    ),
    "off the grid": (
        "a.csv",
        f"{HEADER}{FIRST}2024-01-01T00:01:05,1,1,1,1,1\n",
        "row 2: time 2024-01-01T00:01:05.000000Z is not on the 1m grid",
    ),
    "repeated time": (
        "a.csv",
        f"{HEADER}{FIRST}{FIRST}",
        "row 2: time 2024-01-01T00:00:00Z is also that of row 1; remove one of the rows",
    ),
    "no number": (
        "a.csv",
        f"{HEADER}{FIRST}2024-01-02,1,x,1,1,1\n",
        "row 2: high 'x' is not a finite",
    ),
    "not finite": (
        "a.csv",
        f"{HEADER}{FIRST}2024-01-02,1,1,1,nan,1\n",
        "row 2: close 'nan' is not",
    ),
    "null volume": ("a.json", "[[1704067200, 1, 1, 1, 1, null]]", "row 1: the volume is missing"),
    "exchange's order in CSV": (
        "a.csv",
        "1704067200,1,3,2,2,5\n",
        "the columns are not time,open,high,low,close,volume: row 1 breaks the rule: open lies",
    ),
    "no known order": (
        "a.json",
        "[[1704067200, 1, 3, 2, 9, 5]]",
        "the columns are not time,low,high,open,close,volume: row 1 breaks the rule: close lies",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_file_is_one_clear_line(case: str, tmp_path: Path) -> None:
    name, content, message = BAD[case]
    file = tmp_path / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(CandleFileError) as refused:
        read_candle_files([file], MINUTES)
    line = str(refused.value)
    assert line.startswith(f"{file}: ")
    assert message in line
    assert ";" in line
    assert_plain(line)


def test_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    for name in ("folder.csv", "pipe.csv"):
        with pytest.raises(CandleFileError, match=f"{name}: not a file; "):
            read_candle_files([tmp_path / name], MINUTES)
    with pytest.raises(CandleFileError, match="there is no such file"):
        read_candle_files([tmp_path / "missing.csv"], MINUTES)
    with pytest.raises(CandleFileError, match="cannot be read: File name too long"):
        read_candle_files([tmp_path / f"{'a' * 999}.csv"], MINUTES)


def test_hostile_file_name_is_escaped(tmp_path: Path) -> None:
    with pytest.raises(CandleFileError) as refused:
        read_candle_files([tmp_path / "\x1b[31m\u202e\udcff.csv"], MINUTES)
    assert_plain(str(refused.value))


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.json"])
def test_much_text_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_formats, "_MOST_TEXT", 2**20)
    content = b"[" + b"[]," * 2**20
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    with pytest.raises(CandleFileError, match="has more than 1 MiB of text; split it"):
        read_candle_files([tmp_path / name], MINUTES)


@pytest.mark.parametrize("name", ["table.parquet", "freqtrade.feather"])
def test_many_bytes_are_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign_table, "_MOST_BYTES", 99)
    WRITERS[name](tmp_path / name)
    with pytest.raises(CandleFileError, match="bytes, and the most is 99"):
        read_candle_files([tmp_path / name], MINUTES)


@pytest.mark.parametrize("name", ["a.parquet", "a.feather"])
def test_many_columns_are_refused(name: str, tmp_path: Path) -> None:
    table = FRAME.assign(**{f"x{number}": 1 for number in range(99)})
    table.to_parquet(tmp_path / "a.parquet")
    table.to_feather(tmp_path / "a.feather")
    with pytest.raises(CandleFileError, match="has 105 columns, and the most is 64"):
        read_candle_files([tmp_path / name], MINUTES)


@pytest.mark.parametrize("name", ["a.parquet", "a.feather"])
def test_damaged_text_is_refused(name: str, tmp_path: Path) -> None:
    buffers = [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")]
    table = EXPECTED.slice(0, 1).set_column(
        0, "time", pa.Array.from_buffers(pa.string(), 1, buffers)
    )
    parquet.write_table(table, tmp_path / "a.parquet")
    feather.write_feather(table, tmp_path / "a.feather")
    with pytest.raises(CandleFileError, match=f"cannot be read as {name[1:]}"):
        read_candle_files([tmp_path / name], MINUTES)


@pytest.mark.parametrize("name", ["table.parquet", "freqtrade.feather", "lines.jsonl"])
def test_many_rows_are_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign_table, "MOST_ROWS", 3)
    WRITERS[name](tmp_path / name)
    with pytest.raises(CandleFileError, match="has 4 rows, and the most is 3"):
        read_candle_files([tmp_path / name], MINUTES)


@pytest.mark.parametrize(
    ("step", "series", "remedy"),
    [
        (
            5,
            "ETH-EUR:1m",
            "its candles are 5m apart, but ETH-EUR:1m has 1m candles; give --series ETH-EUR:5m",
        ),
        (
            1,
            "ETH-EUR:15m",
            "its candles are 1m apart, but ETH-EUR:15m has 15m candles; give --series ETH-EUR:1m",
        ),
        (1440, "ETH-EUR:6h", "its candles are 1d apart"),
        (
            3,
            "ETH-EUR:1m",
            "its candles are 3m apart, but ETH-EUR:1m has 1m candles; give files of 1m candles",
        ),
    ],
)
def test_other_length_of_candles_is_named(
    step: int, series: str, remedy: str, tmp_path: Path
) -> None:
    layout = FileLayout(parse_candle_series(series))
    times = [START + number * timedelta(minutes=step) for number in (0, 1, 2, 3, 7)]
    candle_table(times).to_pandas().to_parquet(tmp_path / "a.parquet")
    with pytest.raises(CandleFileError) as refused:
        read_candle_files([tmp_path / "a.parquet"], layout)
    assert remedy in str(refused.value)


@pytest.mark.parametrize("minutes", [(0, 5, 10, 16, 40), (0, 2, 8, 12, 30), (0, 5, 5 * 1440)])
def test_rare_candles_are_not_longer_ones(minutes: Sequence[int], tmp_path: Path) -> None:
    times = [START + minute * timedelta(minutes=1) for minute in minutes]
    candle_table(times).to_pandas().to_parquet(tmp_path / "a.parquet")
    assert read_candle_files([tmp_path / "a.parquet"], MINUTES).num_rows == len(minutes)


def test_read_days_without_time_of_day(tmp_path: Path) -> None:
    days = [START.date(), START.date() + timedelta(days=2)]
    FRAME.iloc[:2].assign(time=days).to_parquet(tmp_path / "a.parquet")
    found = read_candle_files([tmp_path / "a.parquet"], FileLayout(parse_candle_series("A-B:1d")))
    assert found["time"].to_pylist() == [START, START + timedelta(days=2)]


@pytest.mark.parametrize(
    "text",
    ["", "time,open", "time,open,high,low,close,volume,volume", "a,open,high,low,close,volume"],
)
def test_wrong_columns_state_rule(text: str) -> None:
    with pytest.raises(ValueError, match="must have each of time,open,high,low,close,volume once"):
        parse_order(text)


def test_times_stay_exact_in_nanoseconds(tmp_path: Path) -> None:
    table = EXPECTED.set_column(0, "time", EXPECTED["time"].cast(pa.timestamp("ns", "UTC")))
    feather.write_feather(table, tmp_path / "a.feather")
    assert read_candle_files([tmp_path / "a.feather"], MINUTES).equals(EXPECTED)
