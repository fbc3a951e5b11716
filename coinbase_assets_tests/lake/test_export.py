"""Exports: every format holds the stored candles, and an error leaves no file."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import csv

from coinbase_assets.candles.datasets import CANDLE_HISTORY, CANDLE_ROLLUP
from coinbase_assets.candles.series import Series, parse_candle_series
from coinbase_assets.cli.main import main
from coinbase_assets.cli.writing import export
from coinbase_assets.lake.export import FORMATS, write_file
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.stand_in.tables import candle_table

ETH = Series.parse("ETH-EUR:15m")
RANGE = ("--from", "2024-01-31", "--to", "2024-02-01")


def candles(month: str) -> pa.Table:
    """Return a month of candles whose prices need all their digits."""
    first = datetime.fromisoformat(f"{month}-01").replace(tzinfo=UTC)
    times = [first + timedelta(minutes=15) * n for n in range(28 * 96 + 3 * 96)]
    numbers = [1 / 3 + n for n in range(len(times))]
    return candle_table(
        times, open=numbers, high=numbers, low=numbers, close=numbers, volume=numbers
    )


JANUARY, FEBRUARY = candles("2024-01"), candles("2024-02")
EXPECTED = pa.concat_tables([JANUARY.slice(30 * 96), FEBRUARY.slice(0, 96)]).to_pandas()

READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".parquet": pd.read_parquet,
    ".csv": lambda file: csv.read_csv(file).to_pandas(),
    ".csv.gz": lambda file: csv.read_csv(file).to_pandas(),
    ".json": lambda file: pd.DataFrame(json.loads(file.read_text())),
    ".jsonl": lambda file: pd.DataFrame(map(json.loads, file.read_text().splitlines())),
    ".feather": pd.read_feather,
}


@pytest.fixture
def history(lake: ParquetStore) -> ParquetStore:
    for month, table in (("2024-01", JANUARY), ("2024-02", FEBRUARY)):
        path = CANDLE_HISTORY.path(ETH).format(partition=month)
        lake.put(path, table, None)
    return lake


@pytest.mark.both_addresses
@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("suffix", READERS)
def test_export_writes_days_of_range(
    suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / f"candles{suffix}"
    main(["export", "--series", str(ETH), *RANGE, "--out", str(file)])
    assert capsys.readouterr().out == f"{file}: {2 * 96} candles\n"
    found = READERS[suffix](file)
    found["time"] = found["time"].astype("datetime64[us, UTC]")
    pd.testing.assert_frame_equal(found, EXPECTED, check_exact=True)
    assert os.listdir(tmp_path) == [file.name]


@pytest.mark.both_addresses
def test_export_writes_rollup(history: ParquetStore, tmp_path: Path) -> None:
    path = CANDLE_ROLLUP.path(parse_candle_series("ETH-EUR:4h"))
    history.put(path.format(partition="2024-01"), JANUARY, None)
    file = tmp_path / "candles.csv"
    days = ("--from", "2024-01-31", "--to", "2024-01-31")
    main(["export", "eth-eur:4h", *days, "--out", str(file)])
    assert len(READERS[".csv"](file)) == 96


def test_export_formats_match_command_line() -> None:
    assert FORMATS.keys() == READERS.keys()
    help_text = export.get_help(click.Context(export))
    assert all(suffix in help_text for suffix in FORMATS)


def test_export_jsonl_keeps_all_digits(tmp_path: Path) -> None:
    file = tmp_path / "candles.jsonl"
    write_file(file, [JANUARY.slice(0, 1)])
    assert file.read_text() == (
        '{"time": "2024-01-01T00:00:00Z", "open": 0.3333333333333333, "high": 0.3333333333333333,'
        ' "low": 0.3333333333333333, "close": 0.3333333333333333, "volume": 0.3333333333333333}\n'
    )


def test_export_jsonl_has_no_nan(tmp_path: Path) -> None:
    file, times = tmp_path / "candles.jsonl", JANUARY["time"].to_pylist()[:3]
    write_file(file, [candle_table(times, volume=[math.nan, math.inf, 1.0])])
    rows = [json.loads(line, parse_constant=pytest.fail) for line in file.read_text().splitlines()]
    assert [row["volume"] for row in rows] == [None, None, 1.0]


@pytest.mark.parametrize("suffix", READERS)
def test_export_interrupted_keeps_file(suffix: str, tmp_path: Path) -> None:
    def tables() -> Iterator[pa.Table]:
        yield JANUARY
        raise KeyboardInterrupt

    file = tmp_path / f"candles{suffix}"
    file.write_text("before")
    with pytest.raises(KeyboardInterrupt):
        write_file(file, tables())
    assert file.read_text() == "before"
    assert os.listdir(tmp_path) == [file.name]


def test_export_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / ".eth.csv.part").symlink_to(tmp_path / "theirs")
    write_file(tmp_path / "eth.csv", [JANUARY])
    assert (tmp_path / "theirs").read_text() == "theirs"


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (
            ["--series", "ETH-EUR:1m", *RANGE],
            1,
            "ETH-EUR:1m: not in the lake; it holds ETH-EUR:15m",
        ),
        (
            ["--series", str(ETH), "--from", "2024-02-02", "--to", "2024-02-01"],
            2,
            "--from 2024-02-02: after --to 2024-02-01; swap them",
        ),
    ],
)
def test_export_error_is_one_line_without_file(
    arguments: list[str],
    status: int,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "candles.csv"
    with pytest.raises(SystemExit) as end:
        main(["export", *arguments, "--out", str(file)])
    assert (end.value.code, file.exists()) == (status, False)
    assert capsys.readouterr().err.strip().splitlines()[-1] == f"Error: {message}"


@pytest.mark.parametrize("name", ["candles.xlsx", "candles"])
def test_export_unknown_format_names_formats(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["export", "--series", str(ETH), *RANGE, "--out", name])
    assert f"end the name with {' or '.join(FORMATS)}" in capsys.readouterr().err


@pytest.mark.usefixtures("history")
def test_export_imports_no_dagster(tmp_path: Path) -> None:
    file = tmp_path / "candles.csv"
    arguments = ["export", "--series", str(ETH), *RANGE, "--out", str(file)]
    code = f"import sys; from coinbase_assets.cli.main import main; main({arguments!r});"
    loaded = "assert not {'dagster', 'matplotlib'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code + loaded], check=True)
    assert len(READERS[".csv"](file)) == 2 * 96
