"""What belongs at each path of the lake, so that damaged and misplaced files are noticed.

Pure: no Dagster, no I/O.
"""

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime

import numpy as np
import pyarrow as pa

from coinbase_assets.candles.calendar import DAY, day_start, month_range
from coinbase_assets.candles.datasets import (
    CANDLE_COVERAGE,
    CANDLE_HISTORY,
    CANDLE_REVISIONS,
    CANDLE_ROLLUP,
    PROOFS,
    RAW_CANDLES,
    Dataset,
    Place,
    place_of,
)
from coinbase_assets.candles.months import check_days
from coinbase_assets.candles.rules import validate_candles
from coinbase_assets.candles.series import Granularity
from coinbase_assets.candles.table import (
    InvalidCandles,
    candles_digest,
    conform,
    epoch_microseconds,
)
from coinbase_assets.table_metadata import Fields, table_fields, with_fields

_NEEDED = ("version", "fetched_at", "answered_through")


class LakeRules:
    """The rules of the lake's tables: a storage.blob_rules.BlobRules."""

    def seal(self, path: str, table: pa.Table) -> pa.Table:
        """Return the table with its path and a digest of its content as fields."""
        if not place_of(path):
            return table
        return with_fields(table, {"path": path, "content": table_digest(table)})

    def is_of_lake(self, path: str) -> bool:
        """Return whether the table can be asked for, or made, again if it is another lake's."""
        place = place_of(path)
        return bool(place and place.dataset in _CHECKS)

    def may_describe(self, path: str, fields: Mapping[str, str]) -> bool:
        place = place_of(path)
        return not place or _fits(place, fields)

    def find_damage(self, path: str, table: pa.Table) -> str:
        place = place_of(path)
        if not place:
            return ""
        try:
            _check(place, path, table)
        except InvalidCandles as error:
            return str(error)
        return ""


def table_digest(table: pa.Table) -> str:
    """Return a hash of the names, types and values of all columns: 32 hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=16)
    for name, column in zip(table.column_names, table.columns, strict=True):
        digest.update(f"{name} {column.type} {len(column)}\n".encode())
        digest.update(_bytes_of(column))
    return digest.hexdigest()


def _bytes_of(column: pa.ChunkedArray) -> bytes:
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    is_plain = pa.types.is_floating(column.type) or pa.types.is_integer(column.type)
    if is_plain and not column.null_count:
        return np.ascontiguousarray(column.to_numpy()).tobytes()
    return repr(column.to_pylist()).encode()


def _fits(place: Place, fields: Mapping[str, str]) -> bool:
    """Whether the fields name the place's series, and candles in its time."""
    if place.series and fields.get("series", str(place.series)) != str(place.series):
        return False
    if place.dataset not in (RAW_CANDLES, CANDLE_HISTORY, CANDLE_ROLLUP):
        return True
    start, end = _span(place)
    times = (fields[name] for name in ("first_candle", "last_candle") if name in fields)
    return all(start <= datetime.fromisoformat(time) < end for time in times)


def _span(place: Place) -> tuple[datetime, datetime]:
    if place.dataset.partition == "month":
        return month_range(place.key)
    return day_start(place.key), day_start(place.key) + DAY


def _check(place: Place, path: str, table: pa.Table) -> None:
    """Raise InvalidCandles unless this is the table of that place."""
    fields = table_fields(table, InvalidCandles)
    if place.series and place.dataset in _NAMED and fields["series"] != str(place.series):
        raise InvalidCandles(f"it holds candles of {fields['series']}, not of {place.series}")
    if fields.get("path", path) != path:
        raise InvalidCandles(f"it belongs at {fields['path']}")
    if "content" in fields and fields["content"] != table_digest(table):
        raise InvalidCandles("its values are not those that were stored")
    if check := _CHECKS.get(place.dataset):
        check(place, table, fields)


def _check_day(place: Place, table: pa.Table, fields: Fields) -> None:
    candles = conform(table)
    _validate(place, candles)
    for name in _NEEDED:
        fields[name]
    if fields.get("digest", "") not in ("", candles_digest(candles)):
        raise InvalidCandles("its candles are not those that were stored")


def _check_history(place: Place, table: pa.Table, fields: Fields) -> None:
    _validate(place, conform(table))
    check_days(table)


def _validate(place: Place, candles: pa.Table) -> None:
    assert place.series
    validate_candles(candles, Granularity(place.series.granularity), *_span(place))


def _check_rollup(place: Place, table: pa.Table, fields: Fields) -> None:
    times = epoch_microseconds(conform(table)["time"])
    first, end = (int(time.timestamp()) * 1_000_000 for time in _span(place))
    if len(times) and not (first <= times[0] and times[-1] < end and (np.diff(times) > 0).all()):
        raise InvalidCandles("its times do not ascend within its month")


def _check_ledger(place: Place, table: pa.Table, fields: Fields) -> None:
    if not {"start", "end", "state"} <= {*table.column_names}:
        raise InvalidCandles("it has no columns start, end and state")
    starts, ends = (table[name].to_pylist() for name in ("start", "end"))
    first, end = _span(place)
    if starts[1:] != ends[:-1] or starts[:1] != [first] or ends[-1:] != [end]:
        raise InvalidCandles("its intervals do not cover the month without a gap")


_Check = Callable[[Place, pa.Table, Fields], None]
_CHECKS: Mapping[Dataset, _Check] = {
    RAW_CANDLES: _check_day,
    CANDLE_HISTORY: _check_history,
    CANDLE_ROLLUP: _check_rollup,
    CANDLE_COVERAGE: _check_ledger,
}
# Their files name their series.
_NAMED = {*_CHECKS, PROOFS, CANDLE_REVISIONS}
