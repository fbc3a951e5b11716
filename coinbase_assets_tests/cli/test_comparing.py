"""The command `compare`: files of candles held against a lake in Azurite."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from coinbase_assets.candles.datasets import CANDLE_COVERAGE, CANDLE_HISTORY, CANDLE_ROLLUP
from coinbase_assets.candles.series import Series, parse_candle_series
from coinbase_assets.cli.main import main
from coinbase_assets.completeness.ledger import COVERAGE_SCHEMA, State
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.hostile_strings import assert_plain
from coinbase_assets_tests.stand_in.tables import candle_table

ETH = Series.parse("ETH-EUR:1m")
START = datetime(2024, 1, 30, 23, tzinfo=UTC)
HOURS = 26
TIMES = [START + timedelta(minutes=minute) for minute in range(60 * HOURS)]
NUMBERS = [100 + number / 3 for number in range(len(TIMES))]
CANDLES = candle_table(TIMES, low=1.0, open=NUMBERS, close=NUMBERS, high=1000.0, volume=NUMBERS)
FRAME = CANDLES.to_pandas()


def put_history(lake: ParquetStore, first_of_february: int = 0) -> None:
    """Store the candles in two months, without the first of the second month."""
    days = CANDLES.slice(0, 25 * 60), CANDLES.slice(25 * 60 + first_of_february)
    for month, table in zip(("2024-01", "2024-02"), days, strict=True):
        lake.put(CANDLE_HISTORY.path(ETH).format(partition=month), table, None)


@pytest.fixture
def history(lake: ParquetStore) -> ParquetStore:
    put_history(lake)
    return lake


def compare(*arguments: object) -> int:
    """Run the command and return its exit status."""
    try:
        main(["compare", *map(str, arguments), "--series", str(ETH)])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("name", ["a.csv", "a.feather", "a.json"])
def test_compare_equal_files(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame, file = FRAME.rename(columns={"time": "date"}), tmp_path / name
    if name == "a.csv":
        frame.to_csv(file, index=False)
    elif name == "a.feather":
        frame.to_feather(file)
    else:
        rows = frame.assign(date=frame["date"].astype("int64") // 1000).to_numpy().tolist()
        file.write_text(json.dumps(rows))
    assert compare(file) == 0
    assert capsys.readouterr().out == (
        "ETH-EUR:1m, 2024-01-30T23:00..2024-02-01T01:00 (ends are not included)\n"
        "  equal: 1,560\n  different: 0\n  only in files: 0\n  only in lake: 0\n"
    )


@pytest.fixture
def files(lake: ParquetStore, tmp_path: Path) -> list[Path]:
    """Two files that overlap, and differ from the lake in each way.

    The lake lacks the four minutes from 2024-02-01 00:00 on; its ledger says no_trades.
    """
    put_history(lake, 4)
    row = {
        "start": TIMES[25 * 60],
        "end": TIMES[25 * 60 + 4],
        "buckets": 4,
        "evidence": "asked\n\x1b[2J",
    }
    ledger = pa.Table.from_pylist([{**row, "state": State.NO_TRADES.value}], COVERAGE_SCHEMA)
    lake.put(CANDLE_COVERAGE.path(ETH).format(partition="2024-02"), ledger, None)
    changed = FRAME.copy()
    changed.loc[10:14, "close"] += 0.5
    changed.loc[60 * 25 + 30, "volume"] = 7.0
    changed = changed.drop(index=[*range(100, 430), *range(500, 520, 2)])
    changed.iloc[:400].to_csv(tmp_path / "a.csv", index=False)
    changed.iloc[300:].to_parquet(tmp_path / "b.parquet", index=False)
    return [tmp_path / "a.csv", tmp_path / "b.parquet"]


def test_compare_names_differences(files: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(*files) == 1
    out = capsys.readouterr().out
    assert_plain(out)
    assert out == (
        "ETH-EUR:1m, 2024-01-30T23:00..2024-02-01T01:00 (ends are not included)\n"
        "  equal: 1,210\n"
        "  different: 6\n"
        "    2024-01-30T23:10..2024-01-30T23:15 (5)\n"
        "    2024-02-01T00:30..2024-02-01T00:31 (1)\n"
        f"    2024-01-30T23:10: close {NUMBERS[10] + 0.5} in the files, {NUMBERS[10]} in the lake\n"
        f"    2024-01-30T23:11: close {NUMBERS[11] + 0.5} in the files, {NUMBERS[11]} in the lake\n"
        f"    2024-01-30T23:12: close {NUMBERS[12] + 0.5} in the files, {NUMBERS[12]} in the lake\n"
        "  only in files: 4\n"
        "    2024-02-01T00:00..2024-02-01T00:04 (4)\n"
        "    ETH-EUR:1m 2024-02-01T00:00:00Z: no_trades from 2024-02-01T00:00:00Z until"
        " 2024-02-01T00:04:00Z, asked\\n\\x1b[2J; that is a proof; nothing is left to do\n"
        "  only in lake: 340\n"
        "    2024-01-31T00:40..2024-01-31T06:10 (330)\n"
        "    2024-01-31T07:20..2024-01-31T07:21 (1)\n"
        "    2024-01-31T07:22..2024-01-31T07:23 (1)\n"
        "    2024-01-31T07:24..2024-01-31T07:25 (1)\n"
        "    2024-01-31T07:26..2024-01-31T07:27 (1)\n"
        "    and 6 more ranges\n"
    )


def test_compare_json_is_one_object(files: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(*files, "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["series"], found["equal"]) == ("ETH-EUR:1m", 1210)
    assert (found["start"], found["end"]) == ("2024-01-30T23:00:00Z", "2024-02-01T01:00:00Z")
    assert found["different"]["candles"] == 6
    example = found["different"]["examples"][0]
    assert example["time"] == "2024-01-30T23:10:00Z"
    assert example["files"]["close"] - example["lake"]["close"] == pytest.approx(0.5)
    (only_in_files,) = found["only_in_files"]["ranges"]
    assert only_in_files == {
        "start": "2024-02-01T00:00:00Z",
        "end": "2024-02-01T00:04:00Z",
        "candles": 4,
    }
    assert "no_trades" in found["only_in_files"]["ledger"][0]
    assert len(found["only_in_lake"]["ranges"]) == 11


def test_compare_days_both_inclusive(files: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(*files, "--from", "2024-02-01", "--to", "2024-02-01", "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["start"], found["end"]) == ("2024-02-01T00:00:00Z", "2024-02-02T00:00:00Z")
    assert (found["equal"], found["different"]["candles"]) == (55, 1)
    assert compare(*files, "--to", "2024-01-30", "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["start"], found["end"]) == ("2024-01-30T23:00:00Z", "2024-01-31T00:00:00Z")
    assert found["equal"] == 55


@pytest.mark.usefixtures("history")
def test_compare_tolerance_allows_rounded_values(tmp_path: Path) -> None:
    FRAME.to_csv(tmp_path / "a.csv", index=False, float_format="%.5g")
    assert compare(tmp_path / "a.csv") == 1
    assert compare(tmp_path / "a.csv", "--tolerance", "1e-4") == 0


@pytest.mark.usefixtures("history")
def test_compare_columns_and_unit(tmp_path: Path) -> None:
    names = ["time", "low", "high", "open", "close", "volume"]
    rows = FRAME.assign(time=FRAME["time"].astype("int64") // 1_000_000)[names]
    rows.to_csv(tmp_path / "a.csv", index=False, header=False)
    assert compare(tmp_path / "a.csv") == 2
    assert compare(tmp_path / "a.csv", "--columns", ",".join(names), "--time-unit", "s") == 0
    assert compare(tmp_path / "a.csv", "--columns", ",".join(names), "--time-unit", "ms") == 2


def test_compare_rollup(
    lake: ParquetStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = CANDLE_ROLLUP.path(parse_candle_series("ETH-EUR:4h")).format(partition="2024-01")
    times = [datetime(2024, 1, 1, hour, tzinfo=UTC) for hour in (0, 4, 8)]
    lake.put(path, candle_table(times[:2]), None)
    candle_table(times).to_pandas().to_parquet(tmp_path / "a.parquet")
    with pytest.raises(SystemExit, match="1"):
        main(["compare", str(tmp_path / "a.parquet"), "--series", "ETH-EUR:4h"])
    assert "  equal: 2\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument 'FILES...'"),
        (["missing.csv"], "missing.csv: there is no such file; give the name of a file of candles"),
        (["a.csv", "--tolerance", "nan"], "--tolerance nan: must be from 0 to less than 1"),
        (["a.csv", "--tolerance", "1"], "--tolerance 1.0: must be from 0 to less than 1"),
        (["a.csv", "--columns", "time"], "--columns 'time' must have each of time,open,high,low,"),
        (["a.csv", "--time-unit", "h"], "'h' is not one of 's', 'ms', 'us', 'ns'"),
        (
            ["a.csv", "--from", "2024-02-02", "--to", "2024-02-01"],
            "--from 2024-02-02: after --to 2024-02-01; swap them",
        ),
        (
            ["a.csv", "--from", "2024-02-02"],
            "the files hold no candles in these days, but from 2024-01-30 to 2024-02-01; correct",
        ),
        (["a.csv", "--to", "2024-01-29"], "the files hold no candles in these days"),
    ],
)
def test_compare_wrong_usage_is_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    FRAME.to_csv(tmp_path / "a.csv", index=False)
    monkeypatch.chdir(tmp_path)
    assert compare(*arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Error: ")
    assert message in line


def test_compare_hides_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_KEY", "c2VjcmV0c2VjcmV0c2VjcmV0")
    (tmp_path / "a.csv").write_text("time,open\nc2VjcmV0c2VjcmV0c2VjcmV0,x\n")
    assert compare(tmp_path / "c2VjcmV0c2VjcmV0c2VjcmV0.csv") == 2
    assert "c2VjcmV0" not in capsys.readouterr().err


def test_compare_stores_nothing(files: list[Path], lake: ParquetStore) -> None:
    before = {path: blob.etag for path, blob in lake.survey("").items()}
    compare(*files)
    assert {path: blob.etag for path, blob in lake.survey("").items()} == before
