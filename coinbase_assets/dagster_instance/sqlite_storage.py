"""Dagster's storages in SQLite for processes that open them again and again, as each tick does."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa
from dagster import DagsterInvariantViolationError, Field, StringSource
from sqlalchemy.util import LRUCache

from coinbase_assets.dagster_instance.private_names import ConfigurableClassData
from coinbase_assets.dagster_instance.private_storage_names import (
    SQLITE_BUSY_TIMEOUT_SECONDS,
    SqliteRunStorage,
    SqliteScheduleStorage,
    create_db_conn_string,
)

CONFIG = {"base_dir": Field(StringSource, is_required=False)}
_compiled: LRUCache[Any, Any] = LRUCache(500)
_prepared = set[str]()


@lru_cache(maxsize=8)
def kept_engine(url: str) -> sa.Engine:
    """One of the last few of this process, which compile a statement once, and keep a connection.

    When the last one to a file is closed, SQLite moves its log into it: 3 ms a transaction.
    """
    engine = sa.create_engine(
        url,
        pool_size=1,
        max_overflow=-1,
        connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS},
    )
    return engine.execution_options(compiled_cache=_compiled)


def base_dir(config_value: Mapping[str, Any], *folders: str) -> str:
    """The configured folder, else this one below DAGSTER_HOME."""
    base, home = config_value.get("base_dir"), os.environ.get("DAGSTER_HOME")
    if not (base or home):
        raise DagsterInvariantViolationError(
            "DAGSTER_HOME: not set; the instance's files lie there: set it to its folder"
        )
    return base or str(Path(home or "", *folders))


class _Kept:
    """Of Dagster's own, which looks at all its migrations whenever it is made, for 20 ms, and makes
    an engine for each statement. The files are the same."""

    _conn_string: str
    _folder: str
    _file: str

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return CONFIG

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> Self:
        return cls.from_local(base_dir(config_value, cls._folder), inst_data)

    @classmethod
    def from_local(cls, base_dir: str, inst_data: ConfigurableClassData | None = None) -> Self:
        url = create_db_conn_string(base_dir, cls._file)
        if url in _prepared and Path(base_dir, f"{cls._file}.db").exists():
            return cls(url, inst_data)  # type: ignore[call-arg]
        kept_engine(url).dispose()
        made = super().from_local(base_dir, inst_data)  # type: ignore[misc]
        _prepared.add(url)
        return made

    @contextmanager
    def connect(self) -> Iterator[sa.Connection]:
        with kept_engine(self._conn_string).begin() as connection:
            yield connection


class KeptSqliteRunStorage(_Kept, SqliteRunStorage):
    """SqliteRunStorage, in `history` below DAGSTER_HOME unless `base_dir` says where."""

    _folder, _file = "history", "runs"


class KeptSqliteScheduleStorage(_Kept, SqliteScheduleStorage):
    """SqliteScheduleStorage, in `schedules` below DAGSTER_HOME unless `base_dir` says where."""

    _folder, _file = "schedules", "schedules"
