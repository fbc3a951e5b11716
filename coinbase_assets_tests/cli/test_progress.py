"""The progress that a collection prints."""

import io
import logging
from datetime import UTC, datetime, timedelta

import pytest

from coinbase_assets.candles.series import Series
from coinbase_assets.candles.table import empty_candles
from coinbase_assets.candles.windows import Answer, Window
from coinbase_assets.cli import progress
from coinbase_assets.cli.console import PlainConsole
from coinbase_assets.exchange import client

START = datetime(2024, 1, 1, tzinfo=UTC)
ANSWER = Answer(
    Series.parse("ETH-EUR:15m"),
    Window(START, START + timedelta(days=1)),
    empty_candles(),
    START + timedelta(days=2),
    requests=1,
)


def test_progress_shows_outage_once_until_next_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.0)
    output, log = io.StringIO(), logging.getLogger(client.__name__)
    with progress.progress(PlainConsole(file=output), expected=3, rate=10):
        for text in ("first outage", "first outage", "first outage"):
            log.warning(text)
        log.info("answer", extra={"answer": ANSWER})
        log.warning("second outage")
    printed = output.getvalue()
    assert printed.count("first outage") == 1
    assert printed.count("second outage") == 1
