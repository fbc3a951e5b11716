"""A month of history, joined from its raw days. Pure: no I/O."""

import json
from collections.abc import Mapping
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from coinbase_assets.candles.calendar import DAY, day_start, month_range
from coinbase_assets.candles.days import first_and_last
from coinbase_assets.candles.rules import validate_candles
from coinbase_assets.candles.series import Series
from coinbase_assets.candles.table import (
    InvalidCandles,
    candles_digest,
    clip_candles,
    conform,
    empty_candles,
    merge_candles,
)
from coinbase_assets.table_metadata import Fields, table_fields, with_fields

# The key of the schema metadata that holds the fields of the raw days, as JSON.
_RAW_DAYS = b"raw_days"
_RAW_DAY_FIELDS_KEPT = (
    "version",
    "digest",
    "fetched_at",
    "refreshed_at",
    "answered_through",
    "settled",
    "rule",
    "compared_at",
    "witness",
    "proofs",
)


def join_days(
    series: Series, month: str, days: Mapping[str, pa.Table], expected: int, made_of: str
) -> pa.Table:
    """Return the candles of the month, joined from its raw `days`, by their keys.

    `expected` is the number of its days that have begun, `made_of` the name of the raw dataset. The
    version is the sum of the days' versions, so it grows whenever a day is added or replaced by a
    newer answer. Raises InvalidCandles.
    """
    fields = {key: table_fields(day, InvalidCandles) for key, day in days.items()}
    versions = {key: int(day["version"]) for key, day in fields.items()}
    oldest_first = sorted(days, key=lambda key: versions[key])
    candles = merge_candles(empty_candles(), *(conform(days[key]) for key in oldest_first))
    validate_candles(candles, series.granularity, *month_range(month))
    kept = {
        key: {name: day[name] for name in _RAW_DAY_FIELDS_KEPT if day.get(name)}
        for key, day in fields.items()
    }
    return with_fields(
        with_raw_days(candles, kept),
        {
            "series": str(series),
            "source": made_of,
            "version": str(sum(versions.values())),
            "days": str(len(days)),
            "days_missing": str(expected - len(days)),
            **first_and_last(candles),
        },
    )


def with_raw_days(candles: pa.Table, days: Mapping[str, Mapping[str, str]]) -> pa.Table:
    """Return the candles with `days`: the fields of their raw days, by the days' keys."""
    return candles.replace_schema_metadata({_RAW_DAYS: json.dumps(days).encode()})


def raw_days(history: pa.Table) -> Mapping[str, Mapping[str, str]]:
    """Return the fields of the raw days that the month was joined from, by the days' keys.

    Raises InvalidCandles for a month joined by version 0.1, which did not keep these fields, and
    if they are damaged, also when a missing field is accessed.
    """
    metadata = history.schema.metadata or {}
    if _RAW_DAYS not in metadata:
        raise InvalidCandles("the month was joined by an older version; materialise it again")
    try:
        days = json.loads(metadata[_RAW_DAYS])
        return {f"{day_start(day):%F}": _fields_of(day, known) for day, known in days.items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidCandles(
            "the month's fields of its raw days are damaged; materialise it again"
        ) from error


def _fields_of(day: str, fields: Mapping[str, str]) -> Fields:
    return Fields(fields, f"the raw day {day}", InvalidCandles)


def answered_days(candles: pa.Table) -> set[str]:
    """Return the keys of the raw days in a month that the exchange answered to their end.

    For a month of an earlier version, returns the days that have a candle. The candles need only
    the column `time`.
    """
    try:
        return {
            key
            for key, fields in raw_days(candles).items()
            if datetime.fromisoformat(fields["answered_through"]) >= day_start(key) + DAY
        }
    except InvalidCandles:
        return set(pc.strftime(candles["time"], "%Y-%m-%d").unique().to_pylist())


def unchanged_days(history: pa.Table, days: Mapping[str, Mapping[str, str]]) -> dict[str, pa.Table]:
    """Return the raw days that the month already holds unchanged, by their keys.

    `days` are the fields of the stored raw days. A day is unchanged if the month was joined from
    the same version of it, and if its candles in the month have the digest of the stored day.
    Raises InvalidCandles like `raw_days`.
    """
    joined, candles = raw_days(history), conform(history)
    found = {}
    for key, fields in days.items():
        if _is_same(joined.get(key, {}), fields):
            day = clip_candles(candles, day_start(key), day_start(key) + DAY)
            if candles_digest(day) == fields["digest"]:
                found[key] = with_fields(day, fields)
    return found


def _is_same(joined: Mapping[str, str], stored: Mapping[str, str]) -> bool:
    """Return whether version and digest are equal; days stored by version 0.1 have no digest."""
    return "digest" in stored and all(joined.get(n) == stored[n] for n in ("version", "digest"))
