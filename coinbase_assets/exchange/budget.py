"""The request budget that all processes on the machine share.

A leaky bucket in one SQLite row per exchange: every process reserves the next free slot and sleeps
until it comes. Reservations are served in the order they were made, and a process holds only
MAX_RESERVED of them, so processes get equal shares and one that dies takes that little with it.
"""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from coinbase_assets.exchange.errors import ExchangeError

# Bursts the exchange allows (its documentation).
BURST = 15
# Kept back of the burst: requests sent evenly may arrive up to 0.3 s closer together.
HEADROOM = 3
MAX_RESERVED = 3

_TABLE = """CREATE TABLE IF NOT EXISTS request_budget
    (exchange TEXT PRIMARY KEY, backlog REAL NOT NULL, at REAL NOT NULL)"""


class RequestBudget:
    """`rate` requests a second to the exchange at `api_url`, kept in the SQLite file at `path`.

    Raises ExchangeError where that file cannot be used.
    """

    def __init__(
        self,
        path: Path,
        api_url: str,
        rate: float,
        burst: int = BURST - HEADROOM,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.rate = rate
        self._path = path
        self._exchange = urlsplit(api_url).netloc
        self._burst = burst
        self._clock = clock
        self._reserving = asyncio.Semaphore(MAX_RESERVED)
        self._using = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    async def wait(self) -> None:
        """Return when the next request may be sent."""
        async with self._reserving:
            await asyncio.sleep(await self._update(self._reserve))

    async def pause(self, seconds: float) -> None:
        """Let no process send its next request for so many seconds."""
        await self._update(lambda backlog: (max(backlog, self._burst + seconds * self.rate), 0.0))

    def close(self) -> None:
        with self._using:
            if self._connection:
                self._connection.close()

    def _reserve(self, backlog: float) -> tuple[float, float]:
        """The backlog with one more request in it, and the seconds until that one's slot."""
        return backlog + 1, max(0.0, (backlog + 1 - self._burst) / self.rate)

    async def _update(self, change: Callable[[float], tuple[float, float]]) -> float:
        return await asyncio.to_thread(self._transact, change)

    def _transact(self, change: Callable[[float], tuple[float, float]]) -> float:
        """Change the backlog in one step; the lock outlives a task that is cancelled meanwhile."""
        try:
            with self._using, self._connect() as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(_TABLE)
                backlog, result = change(self._drained(connection))
                connection.execute(
                    "REPLACE INTO request_budget VALUES (?, ?, ?)",
                    (self._exchange, backlog, self._clock()),
                )
        except (sqlite3.Error, OSError) as error:
            raise ExchangeError(
                f"{self._path}: the shared request budget cannot be used ({error});"
                " free disk space, or delete the file"
            ) from error
        return result

    def _drained(self, connection: sqlite3.Connection) -> float:
        """Requests not worked off yet. A clock set back works off none: late, never too many."""
        row = connection.execute(
            "SELECT backlog, at FROM request_budget WHERE exchange = ?", (self._exchange,)
        ).fetchone()
        backlog, at = row or (0.0, 0.0)
        return max(0.0, backlog - max(0.0, self._clock() - at) * self.rate)

    def _connect(self) -> sqlite3.Connection:
        if not self._connection:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                self._path, timeout=30, isolation_level=None, check_same_thread=False
            )
            # A backlog lost in a power cut is worked off by then.
            self._connection.execute("PRAGMA synchronous = OFF")
        return self._connection
