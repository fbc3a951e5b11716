"""Where a request budget is kept: a file for one machine, a server for several.

Each store changes an exchange's lanes in one step, which no other process comes between.
"""

import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from coinbase_assets.exchange.errors import ExchangeError

# Not `request_budget`: files made by older versions hold that one, without the urgent lane.
TABLE = """CREATE TABLE IF NOT EXISTS request_lanes
    (exchange TEXT PRIMARY KEY, backlog DOUBLE PRECISION NOT NULL,
    urgent_backlog DOUBLE PRECISION NOT NULL, pushed_back DOUBLE PRECISION NOT NULL,
    at DOUBLE PRECISION NOT NULL)"""


class Lanes(NamedTuple):
    """Requests not worked off yet, urgent ones in both backlogs, and the number of slots by which
    ordinary reservations were ever pushed back; as of `at`, epoch seconds of the store's clock."""

    backlog: float
    urgent_backlog: float
    pushed_back: float
    at: float


Change = Callable[[Lanes, float], Lanes]
"""The new lanes from the stored ones, which are empty at first, and the time by the store."""


class BudgetStore(Protocol):
    """Used by many threads and processes; every method raises ExchangeError if it fails."""

    def update(self, exchange: str, change: Change) -> Lanes: ...

    def close(self) -> None: ...


class BudgetFile:
    """A budget for the processes of one machine, in an SQLite file."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._using = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def update(self, exchange: str, change: Change) -> Lanes:
        """The lock outlives a task that is cancelled meanwhile."""
        try:
            with self._using, self._connect() as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(TABLE)
                now = self._clock()
                lanes = change(_stored(connection, exchange) or Lanes(0, 0, 0, now), now)
                connection.execute(
                    "REPLACE INTO request_lanes VALUES (?, ?, ?, ?, ?)", (exchange, *lanes)
                )
        except (sqlite3.Error, OSError) as error:
            raise ExchangeError(
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
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                self._path, timeout=30, isolation_level=None, check_same_thread=False
            )
            # A backlog lost in a power cut is worked off by then.
            self._connection.execute("PRAGMA synchronous = OFF")
        return self._connection


def _stored(connection: sqlite3.Connection, exchange: str) -> Lanes | None:
    row = connection.execute(
        "SELECT backlog, urgent_backlog, pushed_back, at FROM request_lanes WHERE exchange = ?",
        (exchange,),
    ).fetchone()
    return row and Lanes(*row)
