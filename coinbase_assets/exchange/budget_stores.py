"""Where a request budget is stored: in a file for one machine, on a server for several.

A store changes the lanes of an exchange in one atomic step.
"""

import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from coinbase_assets.exchange.errors import ExchangeError
from coinbase_assets.private_folders import PRIVATE

BUDGET_FILE = "request_budget.sqlite"

# Milliseconds to wait for other processes that use the file.
_PATIENCE = 30_000
# The part of SQLite's extended error codes that names the kind of error.
_PRIMARY_CODE = 0xFF

# Files of older versions hold another table, `request_budget`, without the urgent lane.
TABLE = """CREATE TABLE IF NOT EXISTS request_lanes
    (exchange TEXT PRIMARY KEY, backlog DOUBLE PRECISION NOT NULL,
    urgent_backlog DOUBLE PRECISION NOT NULL, pushed_back DOUBLE PRECISION NOT NULL,
    at DOUBLE PRECISION NOT NULL)"""


class Lanes(NamedTuple):
    """The ordinary and the urgent lane of an exchange, as of `at` (epoch seconds, store's clock).

    `backlog` is the number of requests that have not drained yet, `urgent_backlog` the number of
    urgent requests among them. `pushed_back` counts all slots by which ordinary reservations were
    ever pushed back.
    """

    backlog: float
    urgent_backlog: float
    pushed_back: float
    at: float


Change = Callable[[Lanes, float], Lanes]
"""Returns the new lanes from the stored lanes (empty at first) and the store's epoch seconds."""


class BudgetStore(Protocol):
    """A store for many threads and processes. Every method raises ExchangeError if it fails."""

    def update(self, exchange: str, change: Change) -> Lanes: ...

    def update_at_once(self, exchange: str, change: Change) -> Lanes | None:
        """Do the same if nothing is to be waited for, else return None."""
        ...

    def close(self) -> None: ...


class _Busy(ExchangeError):
    """Another process is using the file."""


class BudgetFile:
    """A budget for the processes of one machine, in an SQLite file."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._using = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def update(self, exchange: str, change: Change) -> Lanes:
        """See BudgetStore."""
        # A thread's lock, because the thread goes on when its task is cancelled.
        with self._using:
            return self._update(exchange, change, _PATIENCE)

    def update_at_once(self, exchange: str, change: Change) -> Lanes | None:
        """See BudgetStore. A thread that waits would take longer than the update itself."""
        if not self._using.acquire(blocking=False):
            return None
        try:
            return self._update(exchange, change, patience=0)
        except _Busy:
            return None
        finally:
            self._using.release()

    def _update(self, exchange: str, change: Change, patience: int) -> Lanes:
        try:
            with self._connect() as connection:
                connection.execute(f"PRAGMA busy_timeout = {patience}")
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(TABLE)
                now = self._clock()
                lanes = change(_stored(connection, exchange) or Lanes(0, 0, 0, now), now)
                connection.execute(
                    "REPLACE INTO request_lanes VALUES (?, ?, ?, ?, ?)", (exchange, *lanes)
                )
        except (sqlite3.Error, OSError) as error:
            is_busy = getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE == sqlite3.SQLITE_BUSY
            kind = _Busy if is_busy else ExchangeError
            raise kind(
                f"{self._path}: the shared request budget cannot be used ({error});"
                " free disk space, or delete the file"
            ) from error
        return lanes

    def close(self) -> None:
        with self._using:
            if self._connection:
                self._connection.close()

    def _connect(self) -> sqlite3.Connection:
        if not self._connection:
            self._path.parent.mkdir(PRIVATE, parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                self._path, isolation_level=None, check_same_thread=False
            )
            # A power cut may lose the backlog, but it has drained by the time the machine is back.
            self._connection.execute("PRAGMA synchronous = OFF")
        return self._connection


def _stored(connection: sqlite3.Connection, exchange: str) -> Lanes | None:
    row = connection.execute(
        "SELECT backlog, urgent_backlog, pushed_back, at FROM request_lanes WHERE exchange = ?",
        (exchange,),
    ).fetchone()
    return row and Lanes(*row)
