"""How many requests had which answer: the sum over all processes that share the file."""

import json
import os
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from coinbase_assets.file_locks import exclusive

REQUEST_COUNTS_FILE = "exchange_requests.json"
NO_ANSWER = "none"


class RequestCounts:
    """The requests of a client, by status; `save` adds them to those in the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._new = Counter[str]()

    def add(self, status: str) -> None:
        self._new[status] += 1

    def save(self) -> None:
        """Add the counts to the file. A full disk costs them, and nothing else."""
        lock, written = self._path.with_suffix(".lock"), self._path.with_suffix(".new")
        with suppress(OSError), exclusive(lock):
            written.write_text(json.dumps(self._new + Counter(read_request_counts(self._path))))
            os.replace(written, self._path)
            self._new.clear()


def read_request_counts(path: Path) -> Mapping[str, int]:
    """Return the requests so far, by status. A missing or damaged file has none."""
    with suppress(OSError, ValueError):
        counts = json.loads(path.read_text())
        if isinstance(counts, dict) and all(isinstance(each, int) for each in counts.values()):
            return counts
    return {}
