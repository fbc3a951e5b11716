"""Fields: named texts about a table, kept in its schema metadata. Pure: no I/O.

They are stored in a file and in its blob's metadata, which anybody with the right to write can
change. So a field's name says how its value is read, and a value that cannot be read is left out.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime

import pyarrow as pa

NAMESPACE = "coinbase_assets."
# All years that a stored time can have.
_YEARS = range(1970, 2100)


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
    return all(fits(text) for names, fits in _RULES if names.fullmatch(name))


def is_number(text: str) -> bool:
    """Return whether the text is a whole number from 0 to 10^18."""
    return re.fullmatch(r"[0-9]{1,18}", text) is not None


def _is_time(text: str) -> bool:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return False
    return time.tzinfo is not None and time.year in _YEARS


_RULES: tuple[tuple[re.Pattern[str], Callable[[str], bool]], ...] = (
    (
        re.compile(r"rows|bytes|version|requests|days|missing_buckets|days_missing|usual_pause"),
        is_number,
    ),
    (re.compile(r"rule|tries|revisions|revisions_lost|candles_\w+|buckets_\w+"), is_number),
    (re.compile(r"\w+_at|\w+_through|\w+_candle"), _is_time),
)


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
