"""`status --json`: whatever the lake and the alerts hold, every program can read it."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from coinbase_assets.candles.datasets import CANDLE_HISTORY
from coinbase_assets.candles.series import Series
from coinbase_assets.cli.status_report import print_json
from coinbase_assets.monitoring.freshness import FreshnessWindows
from coinbase_assets.monitoring.incidents import Incident, Problem
from coinbase_assets.monitoring.kinds import Kind
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets_tests.lake.test_local_folder import HOURS, LocalFolder

WINDOWS = FreshnessWindows(timedelta(hours=1), timedelta(hours=2))


def test_status_json_of_odd_values(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, path = LocalFolder(tmp_path), CANDLE_HISTORY.path(HOURS).format(partition="2024-01")
    source.put(path, b"", "", {"rows": str(2**53 + 1)})
    text = "caf\u00e9 \U0001f986 \udcff \x00"
    incident = Incident("", Kind.INVALID, [str(HOURS)], [Problem(str(HOURS), Kind.INVALID, text)])
    assert not print_json(ParquetStore(source), {HOURS: WINDOWS}, [incident])
    output = capsys.readouterr().out
    (status,) = json.loads(output, parse_constant=pytest.fail)
    assert output.isascii()
    assert Series.parse(status["series"]) == HOURS
    assert (status["candles"], status["problems"]) == (
        "9007199254740993",
        ["no recent candles: nothing is collected yet", f"a check fails: {text}"],
    )
