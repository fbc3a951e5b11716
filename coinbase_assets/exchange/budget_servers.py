"""Request budgets in PostgreSQL or Redis, for several machines behind one IP address.

Times come from the server's clock, so the machines' clocks need not agree. An update takes two
round trips to PostgreSQL or four to Redis. There are about twenty updates a second, so the server
should be near.
"""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, unquote, urlsplit

import tenacity

from coinbase_assets.exchange.budget_stores import TABLE, BudgetFile, BudgetStore, Change, Lanes
from coinbase_assets.exchange.errors import ExchangeUnavailable

if TYPE_CHECKING:
    import psycopg

# Seconds for which a failed step is repeated: enough for a restart or a broken connection.
PATIENCE = 10.0
# Seconds to wait for one answer of the server.
_TIMEOUT = 5
_LOCKED = """INSERT INTO request_lanes VALUES
    (%s, 0, 0, 0, extract(epoch FROM clock_timestamp()))
    ON CONFLICT (exchange) DO UPDATE SET exchange = excluded.exchange
    RETURNING backlog, urgent_backlog, pushed_back, at,
    extract(epoch FROM clock_timestamp())::float8"""
_CHANGED = """UPDATE request_lanes
    SET backlog = %s, urgent_backlog = %s, pushed_back = %s, at = %s WHERE exchange = %s"""
# The lock is needed because many processes may find at the same time that the table is missing.
_CREATED = f"""DO $$ BEGIN IF to_regclass('request_lanes') IS NULL THEN
    PERFORM pg_advisory_xact_lock(hashtext('request_lanes')); {TABLE}; END IF; END $$"""


def budget_store(url: str, file: Path) -> BudgetStore:
    """Return the store on the server at `url`, which `check_budget_url` accepts, or the file."""
    if not url:
        return BudgetFile(file)
    scheme = urlsplit(url).scheme
    return BudgetInRedis(url) if scheme.startswith("redis") else BudgetInPostgres(url)


class _BudgetOnServer:
    """Every update waits for the server's answer."""

    def update_at_once(self, exchange: str, change: Change) -> None:
        """See BudgetStore."""


class BudgetInPostgres(_BudgetOnServer):
    """Keeps a row for each exchange in the table `request_lanes`; creates the table if missing."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._using = threading.Lock()
        self._connection: psycopg.Connection[Any] | None = None

    def update(self, exchange: str, change: Change) -> Lanes:
        import psycopg

        with self._using:
            return _patiently(lambda: self._step(exchange, change), psycopg.Error, self._url)

    def close(self) -> None:
        with self._using:
            if self._connection:
                self._connection.close()

    def _step(self, exchange: str, change: Change) -> Lanes:
        connection = self._connect()
        with connection.pipeline(), connection.transaction():
            # A crash may lose the backlog, but it has drained by the time the server is back.
            connection.execute("SET LOCAL synchronous_commit = off")
            connection.execute(f"SET LOCAL idle_in_transaction_session_timeout = '{_TIMEOUT}s'")
            row = connection.execute(_LOCKED, (exchange,)).fetchone()
            assert row
            lanes = change(Lanes(*row[:4]), row[4])
            connection.execute(_CHANGED, (*lanes, exchange))
        return lanes

    def _connect(self) -> "psycopg.Connection[Any]":
        import psycopg

        if not self._connection or self._connection.closed:
            self._connection = psycopg.connect(
                self._url,
                autocommit=True,
                connect_timeout=_TIMEOUT,
                # Prepared statements fail if a pooler gives each transaction another connection.
                prepare_threshold=None,
            )
            self._connection.execute(_CREATED)
        return self._connection


class BudgetInRedis(_BudgetOnServer):
    """Keeps a key for each exchange; repeats a step if another process changed the key."""

    def __init__(self, url: str) -> None:
        from redis import Redis

        self._url = url
        # Any, because the type of `transaction` wrongly says that it returns nothing.
        self._client: Any = Redis.from_url(
            url, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT, decode_responses=True
        )

    def update(self, exchange: str, change: Change) -> Lanes:
        from redis import RedisError

        return _patiently(lambda: self._step(exchange, change), RedisError, self._url)

    def close(self) -> None:
        self._client.close()

    def _step(self, exchange: str, change: Change) -> Lanes:
        key = f"coinbase_assets:request_lanes:{exchange}"

        def step(pipe: Any) -> Lanes:
            stored = pipe.get(key)
            seconds, microseconds = pipe.time()
            now = seconds + microseconds / 1e6
            lanes = change(Lanes(*json.loads(stored)) if stored else Lanes(0, 0, 0, now), now)
            pipe.multi()
            pipe.set(key, json.dumps(lanes))
            return lanes

        return self._client.transaction(step, key, value_from_callable=True)


def _patiently(step: Callable[[], Lanes], errors: type[Exception], url: str) -> Lanes:
    """Return the step's result; a step that fails is repeated for PATIENCE seconds.

    If only the server's answer was lost, the repeated step takes another slot, and the first slot
    stays unused: requests never exceed the rate. Raises ExchangeUnavailable.
    """
    try:
        return tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(errors),
            wait=tenacity.wait_random_exponential(0.1, max=2),
            stop=tenacity.stop_after_delay(PATIENCE),
            reraise=True,
        )(step)
    except errors as error:
        parts = urlsplit(url)
        place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        raise ExchangeUnavailable(
            f"{place}: the shared request budget cannot be used ({_cause(error, parts)});"
            " start that server, or correct COINBASE_BUDGET_URL"
        ) from None


def _cause(error: Exception, parts: SplitResult) -> str:
    """Return the first line of the error, without the URL's password."""
    line = next(iter(str(error).strip().splitlines()), type(error).__name__)
    for secret in filter(None, (parts.password, unquote(parts.password or ""))):
        line = line.replace(secret, "***")
    return line
