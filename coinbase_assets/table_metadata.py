"""Fields: named texts about a table, kept in its schema metadata. Pure: no I/O.

They are stored in a file and in its blob's metadata, which anybody with the right to write can
change. So a field's name says how its value is read, and a value that cannot be read is left out.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from enum import Enum, auto
from functools import lru_cache

import pyarrow as pa

NAMESPACE = "coinbase_assets."
# All years that a stored time can have.
_YEARS = range(1970, 2100)
# About 31 years.
_MOST_SECONDS = 10**9


class Kind(Enum):
    """How a field's value is read; NUMBERS are ranges of whole numbers, such as `1-4,9`."""

    NUMBER = auto()
    SECONDS = auto()
    TIME = auto()
    NUMBERS = auto()
    TEXT = auto()


_KINDS = (
    (re.compile(r"rows|bytes|version|requests|days|missing_buckets|days_missing"), Kind.NUMBER),
    (re.compile(r"rule|tries|revisions|revisions_lost|candles_\w+|buckets_\w+"), Kind.NUMBER),
    (re.compile(r"usual_pause"), Kind.SECONDS),
    (re.compile(r"\w+_at|\w+_through|\w+_candle"), Kind.TIME),
    (re.compile(r"days_held|days_not_collected|from_trades"), Kind.NUMBERS),
)


class Fields(dict[str, str]):
    """The readable fields of a table, by name. A missing one raises `error`, which names `of`."""

    def __init__(self, fields: Mapping[str, str], of: str, error: type[Exception]) -> None:
        super().__init__({name: text for name, text in fields.items() if is_readable(name, text)})
        self._of = of
        self._error = error

    def __missing__(self, name: str) -> str:
        raise self._error(
            f"{self._of}: its metadata has no readable {name!r}; materialise the partition again"
        )


def is_readable(name: str, text: str) -> bool:
    """Return whether the value of the field of that name can be read."""
    match kind_of(name):
        case Kind.NUMBER:
            return is_number(text)
        case Kind.SECONDS:
            return is_number(text) and int(text) < _MOST_SECONDS
        case Kind.TIME:
            return _is_time(text)
    return True


@lru_cache(maxsize=256)
def kind_of(name: str) -> Kind:
    """Return how the value of the field of that name is read."""
    return next((kind for names, kind in _KINDS if names.fullmatch(name)), Kind.TEXT)


def is_number(text: str) -> bool:
    """Return whether the text is a whole number from 0 to 10^18."""
    return re.fullmatch(r"[0-9]{1,18}", text) is not None


def _is_time(text: str) -> bool:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return False
    return time.tzinfo is not None and time.year in _YEARS


def all_fields(table: pa.Table) -> dict[str, str]:
    """Return the fields of the table, by their names, as they are."""
    metadata = table.schema.metadata or {}
    texts = {key.decode(errors="replace"): value for key, value in metadata.items()}
    return {
        key.removeprefix(NAMESPACE): value.decode(errors="replace")
        for key, value in texts.items()
        if key.startswith(NAMESPACE)
    }


def table_fields(table: pa.Table, error: type[Exception] = ValueError) -> Fields:
    """Return the readable fields of the table, by their names. A missing one raises `error`."""
    return Fields(all_fields(table), "the stored table", error)


def with_fields(table: pa.Table, fields: Mapping[str, str]) -> pa.Table:
    """Return the table with these fields added or replaced."""
    named = {f"{NAMESPACE}{name}".encode(): text.encode() for name, text in fields.items()}
    return table.replace_schema_metadata({**(table.schema.metadata or {}), **named})
