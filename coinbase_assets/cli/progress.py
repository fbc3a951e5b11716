"""The progress of a collection: a bar on a terminal, plain lines elsewhere."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from coinbase_assets import exchange
from coinbase_assets.candles.windows import Answer
from coinbase_assets.cli.console import PlainConsole
from coinbase_assets.exchange.budget import BURST

_SECONDS_BETWEEN_LINES = 5.0


@contextmanager
def progress(console: PlainConsole, expected: int, rate: float) -> Iterator[None]:
    """Show the progress of the block. `expected` answers are to come, at `rate` per second."""
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[figures]}", markup=False),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    ) as bar:
        handler = _AnswerHandler(console, bar, expected, rate)
        logger = logging.getLogger(exchange.__name__)
        # A verbose command logs the answers, too.
        logger.propagate = logger.isEnabledFor(logging.INFO)
        logger.setLevel(min(logging.INFO, logger.getEffectiveLevel()))
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.removeHandler(handler)
            handler.print_line()


class _AnswerHandler(logging.Handler):
    """Counts the answers that the exchange package logs, and shows its warnings.

    The client warns from the third failed attempt on. Until the next answer, only the first warning
    is shown.
    """

    def __init__(self, console: PlainConsole, bar: Progress, expected: int, rate: float) -> None:
        super().__init__()
        self._console = console
        self._bar = bar
        self._task = bar.add_task("collecting", total=expected, figures="")
        self._expected = expected
        self._rate = rate
        self._start = self._last_line = time.monotonic()
        self._warned = False
        self._answers = self._candles = self._requests = 0

    def emit(self, record: logging.LogRecord) -> None:
        answer = getattr(record, "answer", None)
        if isinstance(answer, Answer):
            self._count(answer)
        elif not self._warned:
            self._warned = True
            self._console.print(record.getMessage())

    def _count(self, answer: Answer) -> None:
        self._warned = False
        self._answers += 1
        self._candles += answer.candles.num_rows
        self._requests += answer.requests
        self._bar.update(self._task, completed=self._answers, figures=self._figures())
        if time.monotonic() - self._last_line >= _SECONDS_BETWEEN_LINES:
            self.print_line()

    def print_line(self) -> None:
        self._last_line = time.monotonic()
        if not self._console.is_terminal and self._expected:
            left = max(0, self._expected - self._answers) / self._rate
            self._console.print(
                f"{self._answers}/{self._expected} windows, {self._figures()}, {left:.0f} s left"
            )

    def _figures(self) -> str:
        seconds = time.monotonic() - self._start
        budget = self._requests / (BURST + seconds * self._rate)
        return f"{self._candles:,} candles, {self._requests} requests, {budget:.0%} of the budget"
