"""SQL queries over the lake, run by DuckDB. Each kind of table is a view."""

import signal
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from threading import Event
from typing import TYPE_CHECKING

import duckdb
from duckdb import StatementType

from coinbase_assets.environment.secrets import public
from coinbase_assets.lake.query_output import STYLES
from coinbase_assets.lake.reader import Lake
from coinbase_assets.lake.tables import TABLES
from coinbase_assets.storage.concurrency import map_concurrently
from coinbase_assets.storage.errors import StorageError

if TYPE_CHECKING:
    import pyarrow.dataset as ds

# DuckDB itself refuses URLs, extensions and other settings, and files unless they are allowed.
_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "python_enable_replacements": False,
}
_LOCK = "SET TimeZone = 'UTC'; SET lock_configuration = true"
# MULTI is a PIVOT that first asks for the values.
_QUERIES = (StatementType.SELECT, StatementType.EXPLAIN, StatementType.MULTI)
_BETWEEN_INTERRUPTIONS = 0.05
_LONGEST_START = 5.0
_TAKEN = "write one SELECT (or WITH, FROM, VALUES), DESCRIBE, SUMMARIZE, SHOW or EXPLAIN"


class QueryError(Exception):
    """The statement is not a query, or DuckDB refused it or failed to run it.

    DuckDB's errors keep DuckDB's own message, in one line and without secrets.
    """

    def __init__(self, message: str) -> None:
        super().__init__(public(message))


def query(lake: Lake, sql: str, style: str, allow_files: bool = False) -> str:
    """Run the statement and return its result as text.

    `style` is `table`, `json` (an object per line) or `csv`. The views have the tables' columns and
    the keys in the paths: `product`, `granularity`, and `month` or `date`. A filter on a key skips
    whole blobs. With `allow_files`, it may read local files, too. Raises QueryError, StorageError.
    """
    unread = list[StorageError]()
    open_dataset = partial(lake.dataset, report=unread.append)
    try:
        sql.encode()
        settings = {**_SETTINGS, "enable_external_access": allow_files}
        with duckdb.connect(config=settings) as connection:
            connection.execute(_LOCK)
            statement = _only_query(connection.extract_statements(sql), allow_files)
            run = partial(_run, connection, lambda: STYLES[style](connection.sql(statement)))
            # To open a table takes a listing of all its blobs.
            named = [name for name in TABLES if name in sql.lower()]
            if named:
                with suppress(duckdb.CatalogException):
                    _register(connection, open_dataset, named)
                    return run()
            _register(connection, open_dataset, [name for name in TABLES if name not in named])
            return run()
    except duckdb.Error as error:
        if unread:
            raise unread[0] from None
        raise QueryError(" ".join(str(error).split())) from None
    except UnicodeEncodeError:
        raise QueryError("the statement is not UTF-8 text") from None
    except RecursionError:
        raise QueryError("a value is nested too deeply; select parts of it") from None


def _register(
    connection: duckdb.DuckDBPyConnection,
    open_dataset: Callable[[str], "ds.Dataset"],
    names: Sequence[str],
) -> None:
    for name, dataset in zip(names, map_concurrently(open_dataset, names), strict=True):
        connection.register(name, dataset)


def _run(connection: duckdb.DuckDBPyConnection, work: Callable[[], str]) -> str:
    """Return the result of the work. Ctrl-C stops it: DuckDB notices no signals by itself."""
    begin = Event()

    def run() -> str:
        if not begin.wait(_LONGEST_START):
            raise QueryError(f"not begun within {_LONGEST_START:g} seconds; run it again")
        return work()

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run)
        try:
            # Not before: Ctrl-C would leave the query running.
            begin.set()
            return running.result()
        except KeyboardInterrupt:
            _stop(connection, running)
            raise


def _stop(connection: duckdb.DuckDBPyConnection, running: Future[str]) -> None:
    """Interrupt the query until it ends: DuckDB forgets interruptions from before it executes.

    Until then, further Ctrl-C is ignored.
    """
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        while not running.done():
            connection.interrupt()
            wait([running], _BETWEEN_INTERRUPTIONS)
    finally:
        signal.signal(signal.SIGINT, before)


def _only_query(statements: list[duckdb.Statement], allow_files: bool) -> duckdb.Statement:
    """Return the statement. Raises QueryError unless there is one, and it only reads."""
    if len(statements) != 1:
        raise QueryError(f"{len(statements) or 'no'} statements: {_TAKEN}")
    if statements[0].type not in _QUERIES:
        raise QueryError(f"{statements[0].type.name} is not a query: {_TAKEN}")
    if allow_files and statements[0].type == StatementType.EXPLAIN:
        # EXPLAIN ANALYZE runs the statement in it, which may be a COPY.
        raise QueryError("EXPLAIN could write files, so it is refused where files are allowed")
    return statements[0]
