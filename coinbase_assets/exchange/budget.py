"""The request budget that all processes on the machine share.

A leaky bucket in one SQLite row per exchange: every process reserves the next free slot and sleeps
until it comes. Reservations are served in the order they were made, and a process holds only
MAX_RESERVED of them, so processes get equal shares and one that dies takes that little with it.

An urgent request waits for other urgent ones only. Where ordinary ones wait, it takes a slot before
them and is counted; each of them looks at that count when its own slot comes, and sleeps longer.
"""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from coinbase_assets.exchange.errors import ExchangeError

# Bursts the exchange allows (its documentation).
BURST = 15
# Kept back of the burst: one for an urgent request at the moment of an ordinary one; the others
# because requests sent evenly may arrive up to 0.2 s closer together.
HEADROOM = 3
MAX_RESERVED = 3

# Not `request_budget`: files made by older versions hold that one, without the urgent lane.
_TABLE = """CREATE TABLE IF NOT EXISTS request_lanes
    (exchange TEXT PRIMARY KEY, backlog REAL NOT NULL, urgent_backlog REAL NOT NULL,
    pushed_back REAL NOT NULL, at REAL NOT NULL)"""


class _Lanes(NamedTuple):
    """Requests not worked off yet, urgent ones in both backlogs, and the number of slots by which
    ordinary reservations were ever pushed back."""

    backlog: float = 0.0
    urgent_backlog: float = 0.0
    pushed_back: float = 0.0


class RequestBudget:
    """`rate` requests a second to the exchange at `api_url`, kept in the SQLite file at `path`.

    With `urgent`, its requests come before those of every budget without; both together keep to
    the rate. Raises ExchangeError where the file cannot be used.
    """

    def __init__(
        self,
        path: Path,
        api_url: str,
        rate: float,
        burst: int = BURST - HEADROOM,
        clock: Callable[[], float] = time.time,
        *,
        urgent: bool = False,
    ) -> None:
        self.rate = rate
        self._urgent = urgent
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
            await (self._go_first() if self._urgent else self._queue())

    async def pause(self, seconds: float) -> None:
        """Let no process send its next request for so many seconds, nor one that is queued."""

        def push_back(lanes: _Lanes) -> _Lanes:
            slots = max(0.0, seconds * self.rate - lanes.urgent_backlog)
            backlog, urgent_backlog, pushed_back = lanes
            backlog = max(backlog, self._burst)
            return _Lanes(backlog + slots, urgent_backlog + slots, pushed_back + slots)

        await self._update(push_back)

    def close(self) -> None:
        with self._using:
            if self._connection:
                self._connection.close()

    async def _go_first(self) -> None:
        lanes = await self._update(self._with_urgent)
        await asyncio.sleep(max(0.0, lanes.urgent_backlog - 1) / self.rate)

    async def _queue(self) -> None:
        """Sleep until the slot reserved, and longer by those it is pushed back meanwhile."""
        now = asyncio.get_running_loop().time
        lanes = await self._update(lambda lanes: lanes._replace(backlog=lanes.backlog + 1))
        slot = now() + (lanes.backlog - self._burst) / self.rate
        while (seconds := slot - now()) > 0:
            await asyncio.sleep(seconds)
            seen = lanes.pushed_back
            lanes = await self._update(lambda lanes: lanes)
            slot += (lanes.pushed_back - seen) / self.rate

    def _with_urgent(self, lanes: _Lanes) -> _Lanes:
        """One more urgent request; while the burst lasts, it goes before nobody."""
        backlog, urgent_backlog, pushed_back = lanes
        first = backlog + 1 > self._burst
        return _Lanes(backlog + 1, urgent_backlog + first, pushed_back + first)

    async def _update(self, change: Callable[[_Lanes], _Lanes]) -> _Lanes:
        return await asyncio.to_thread(self._transact, change)

    def _transact(self, change: Callable[[_Lanes], _Lanes]) -> _Lanes:
        """Change the row in one step; the lock outlives a task that is cancelled meanwhile."""
        try:
            with self._using, self._connect() as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(_TABLE)
                now = self._clock()
                lanes = change(self._drained(connection, now))
                connection.execute(
                    "REPLACE INTO request_lanes VALUES (?, ?, ?, ?, ?)",
                    (self._exchange, *lanes, now),
                )
        except (sqlite3.Error, OSError) as error:
            raise ExchangeError(
                f"{self._path}: the shared request budget cannot be used ({error});"
                " free disk space, or delete the file"
            ) from error
        return lanes

    def _drained(self, connection: sqlite3.Connection, now: float) -> _Lanes:
        """The row as of now. A clock set back works off nothing: late, never too many."""
        row = connection.execute(
            "SELECT backlog, urgent_backlog, pushed_back, at FROM request_lanes WHERE exchange = ?",
            (self._exchange,),
        ).fetchone()
        backlog, urgent_backlog, pushed_back, at = row or (*_Lanes(), now)
        done = max(0.0, now - at) * self.rate
        return _Lanes(max(0.0, backlog - done), max(0.0, urgent_backlog - done), pushed_back)

    def _connect(self) -> sqlite3.Connection:
        if not self._connection:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                self._path, timeout=30, isolation_level=None, check_same_thread=False
            )
            # A backlog lost in a power cut is worked off by then.
            self._connection.execute("PRAGMA synchronous = OFF")
        return self._connection
