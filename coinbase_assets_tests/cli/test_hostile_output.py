"""Whatever the lake holds, the commands print lines in which nothing is a command or markup."""

import csv
import io
import json
import logging
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from coinbase_assets.candles.datasets import CANDLE_COVERAGE, CANDLE_HISTORY, RAW_CANDLES
from coinbase_assets.cli import progress, status_report
from coinbase_assets.cli.console import PlainConsole, console
from coinbase_assets.completeness.findings import intervals_in
from coinbase_assets.completeness.ledger import COVERAGE_SCHEMA, State, count_buckets
from coinbase_assets.exchange import client
from coinbase_assets.lake.candle_months import stored_series
from coinbase_assets.lake.query_output import as_csv, as_json, as_shown_csv, as_table
from coinbase_assets.monitoring.freshness import FreshnessWindows
from coinbase_assets.monitoring.incidents import Incident, Problem
from coinbase_assets.monitoring.kinds import Kind
from coinbase_assets.process_tuning import open_standard_streams
from coinbase_assets.storage.parquet_store import ParquetStore
from coinbase_assets.table_metadata import with_fields
from coinbase_assets_tests.hostile_strings import HOSTILE, assert_plain
from coinbase_assets_tests.lake.test_local_folder import HOURS, LocalFolder, candles

START = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
WINDOWS = FreshnessWindows(HOUR, 2 * HOUR)
# What a Parquet file can hold: UTF-8.
TEXTS = [
    text for text in HOSTILE if text.isascii() or text.encode(errors="ignore").decode() == text
]


def ledger() -> pa.Table:
    """A ledger with a hostile evidence in every other hour."""
    rows = [
        {
            "start": START + 2 * number * HOUR,
            "end": START + (2 * number + 1) * HOUR,
            "buckets": 1,
            "state": State.UNCONFIRMED.value,
            "evidence": text,
        }
        for number, text in enumerate(TEXTS)
    ]
    return pa.Table.from_pylist(rows, COVERAGE_SCHEMA)


@pytest.fixture
def lake(tmp_path: Path) -> ParquetStore:
    """A lake with hostile evidence and disagreements, but whole months and days."""
    store, table = ParquetStore(LocalFolder(tmp_path)), ledger()
    counts = {f"buckets_{state}": str(count) for state, count in count_buckets(table).items()}
    store.put(
        CANDLE_COVERAGE.path(HOURS).format(partition="2024-01"), with_fields(table, counts), None
    )
    for number, text in enumerate(TEXTS[:31], 1):
        path = RAW_CANDLES.path(HOURS).format(partition=f"2024-01-{number:02}")
        fields = {"disagreement": text, "settled": "true"}
        store.put(path, with_fields(candles(START, 0), fields), None)
    return store


def test_print_status_of_hostile_evidence(
    lake: ParquetStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_report, "_MOST_NAMED", 1_000)
    (found,) = status_report.print_status(console, lake, [HOURS])
    assert not found.complete
    output = capsys.readouterr().out
    lines = [line for line in output.splitlines() if "unconfirmed: " in line]
    assert_plain(output)
    assert len(lines) == len(TEXTS)
    assert max(map(len, lines)) < 400
    assert lines[0].endswith("unconfirmed: [/nope]")


def test_print_json_of_hostile_evidence(
    lake: ParquetStore, capsys: pytest.CaptureFixture[str]
) -> None:
    problems = [Problem(str(HOURS), Kind.INVALID, text) for text in HOSTILE]
    incident = Incident("", Kind.INVALID, [str(HOURS)], problems)
    status_report.print_json(lake, {HOURS: WINDOWS}, [incident])
    output = capsys.readouterr().out
    assert_plain(output)
    assert output.isascii()
    (status,) = json.loads(output)
    assert [interval["evidence"] for interval in status["open_questions"]] == TEXTS
    assert status["problems"][-len(HOSTILE) :] == [f"a check fails: {text}" for text in HOSTILE]


def test_findings_of_hostile_evidence() -> None:
    findings = intervals_in(ledger(), State.UNCONFIRMED)
    assert len(findings) == len(TEXTS)
    for finding in findings:
        assert_plain(finding)
        assert "\n" not in finding
        assert len(finding) < 400


def test_console_prints_hostile_text_in_lines(capsys: pytest.CaptureFixture[str]) -> None:
    for text in HOSTILE:
        console.print(text)
    output = capsys.readouterr().out
    assert_plain(output)
    assert len(output.splitlines()) == len(HOSTILE)
    assert output.splitlines()[0] == "[/nope]"
    assert ":smile:" in output


def test_console_escapes_what_encoding_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    open_standard_streams()
    console.print("caf\u00e9 [/nope]")
    stream.flush()
    assert stream.buffer.getvalue() == b"caf\\xe9 [/nope]\n"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_progress_shows_hostile_warning_in_a_line(is_terminal: bool) -> None:
    log, output = logging.getLogger(client.__name__), io.StringIO()
    for text in HOSTILE[:60]:
        output = io.StringIO()
        plain = PlainConsole(file=output, force_terminal=is_terminal)
        with progress.progress(plain, expected=0, rate=10):
            log.warning(text)
        if not is_terminal:
            assert_plain(output.getvalue())
            assert len(output.getvalue().strip().splitlines()) == 1
    assert output.getvalue()


def test_query_prints_hostile_values_and_names() -> None:
    numbers = [str(number) for number in range(len(TEXTS))]
    names = [text for text in TEXTS if text.strip() and len(text) < 100 and text != "."]
    with duckdb.connect() as connection:
        connection.register("texts", pa.table({"text": TEXTS, "number": numbers}))
        result = connection.sql("SELECT text, [text] AS nested FROM texts")
        named = connection.sql(f"SELECT {', '.join(f'1 AS {quoted(name)}' for name in names)}")
        for relation in (result, named):
            for style in (as_table, as_json, as_shown_csv):
                assert_plain(style(relation))
            assert as_json(relation).isascii()
        assert len(as_shown_csv(result).splitlines()) == len(TEXTS) + 1
        csv.field_size_limit(10_000_000)
        rows = list(csv.reader(io.StringIO(as_csv(result), newline="")))[1:]
        assert [row[0] for row in rows] == TEXTS
        assert [json.loads(line)["text"] for line in as_json(result).splitlines()] == TEXTS


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def test_stored_series_leaves_out_hostile_folders(tmp_path: Path) -> None:
    store = ParquetStore(LocalFolder(tmp_path))
    for product in ("ETH-EUR", "[x]", "\x1b[2J", "A" * 100):
        path = CANDLE_HISTORY.path(HOURS).format(partition="2024-01").replace("ETH-EUR", product)
        store.put(path, candles(START, 1), None)
    assert stored_series(store) == [HOURS]
