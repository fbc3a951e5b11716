"""One line when the exchange stops answering, one a minute, and one when it answers again.

All processes that share the file are one: runs, each with a process of its own, would otherwise
print a line for each attempt of each request.
"""

import json
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

from coinbase_assets.durations import in_words
from coinbase_assets.exchange.errors import ExchangeUnavailable, ExchangeUnreachable
from coinbase_assets.file_locks import exclusive

log = logging.getLogger(__name__)

OUTAGE_ERRORS = (ExchangeUnavailable.__name__, ExchangeUnreachable.__name__)
"""The classes of errors that these lines say enough about."""

_SECONDS_BETWEEN_LINES = 60.0
# An outage is over at the first answer so long after the last failure.
_QUIET_SECONDS = 5.0
# After so long without a request, nobody knows whether the exchange answered in between.
_FORGOTTEN_SECONDS = 600.0


@dataclass(frozen=True)
class _Outage:
    """When the first failure was, when the last was, and when it was said; in epoch seconds."""

    began: float
    failed: float
    said: float


class Outages:
    """The outage of an exchange that is going on, kept in a file; `clock` gives epoch seconds."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock

    def failed(self, error: BaseException | None) -> None:
        """Note that a request failed several times; say so if nobody has for a minute."""
        with suppress(OSError), exclusive(self._lock):
            before, now = self._read(), self._clock()
            if before is None or abs(now - before.failed) > _FORGOTTEN_SECONDS:
                log.warning("The exchange does not answer, trying again: %s", error)
                before = _Outage(now, now, now)
            elif now - before.said >= _SECONDS_BETWEEN_LINES:
                log.warning("No answer for %s: %s", _since(before, now), error)
                before = _Outage(before.began, now, now)
            self._path.write_text(json.dumps(asdict(_Outage(before.began, now, before.said))))

    def answered(self) -> None:
        """Note that the exchange has answered; say so if that ends an outage."""
        if not self._path.exists():
            return
        with suppress(OSError), exclusive(self._lock):
            before, now = self._read(), self._clock()
            if before and now - before.failed >= _QUIET_SECONDS:
                self._path.unlink()
                log.warning("The exchange answers again, after %s", _since(before, now))

    @property
    def _lock(self) -> Path:
        return self._path.with_suffix(".lock")

    def _read(self) -> _Outage | None:
        """Return the outage in the file; None if there is none, or the file is damaged."""
        with suppress(FileNotFoundError, ValueError, TypeError):
            return _Outage(**json.loads(self._path.read_text()))
        return None


def _since(outage: _Outage, now: float) -> str:
    return in_words(timedelta(seconds=max(0.0, now - outage.began)))
