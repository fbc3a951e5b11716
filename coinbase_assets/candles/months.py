"""A month of history, joined from its raw days, and what it keeps of them. Pure: no I/O."""

import json
from collections.abc import Mapping

import pyarrow as pa

from coinbase_assets.candles.calendar import DAY, day_start, month_range
from coinbase_assets.candles.days import first_and_last
from coinbase_assets.candles.series import Series
from coinbase_assets.candles.table import (
    InvalidCandles,
    candles_digest,
    clip_candles,
    empty_candles,
    merge_candles,
    validate_candles,
)
from coinbase_assets.table_metadata import table_fields, with_fields

# The key in the history file's metadata under which the fields of its raw days lie, as JSON.
_RAW_DAYS = b"raw_days"
_KEPT = (
    "version",
    "digest",
    "fetched_at",
    "refreshed_at",
    "answered_through",
    "settled",
    "compared_with",
    "compared_at",
    "contradicted_hours",
    "disagreement",
)


def join_days(
    series: Series, month: str, days: Mapping[str, pa.Table], expected: int, source: str
) -> pa.Table:
    """The month's candles from the raw days there are of the `expected` ones, by their keys.

    Its version is the sum of theirs, so it grows with every day that comes or is newer.
    Raises InvalidCandles.
    """
    fields = {key: table_fields(day) for key, day in days.items()}
    versions = {key: int(day["version"]) for key, day in fields.items()}
    oldest_first = sorted(days, key=lambda key: versions[key])
    candles = merge_candles(empty_candles(), *(days[key] for key in oldest_first))
    validate_candles(candles, series.granularity, *month_range(month))
    kept = {key: {n: day[n] for n in _KEPT if day.get(n)} for key, day in fields.items()}
    candles = candles.replace_schema_metadata({_RAW_DAYS: json.dumps(kept).encode()})
    return with_fields(
        candles,
        {
            "series": str(series),
            "source": source,
            "version": str(sum(versions.values())),
            "days": str(len(days)),
            "days_missing": str(expected - len(days)),
            **first_and_last(candles),
        },
    )


def raw_days(history: pa.Table) -> Mapping[str, Mapping[str, str]]:
    """The fields of the raw days that a month was joined from, by their keys.

    Raises InvalidCandles for a month joined by version 0.1, which did not keep them.
    """
    metadata = history.schema.metadata or {}
    if _RAW_DAYS not in metadata:
        raise InvalidCandles("the month was joined by an older version; materialise it again")
    return json.loads(metadata[_RAW_DAYS])


def unchanged_days(history: pa.Table, days: Mapping[str, Mapping[str, str]]) -> dict[str, pa.Table]:
    """Those of the raw days that the month holds just as they are stored, by their keys.

    `days` are the fields of those stored, which tell their version and the digest of their candles;
    the month's candles of such a day must have that digest. Raises InvalidCandles as `raw_days`.
    """
    joined = raw_days(history)
    found = {}
    for key, fields in days.items():
        start = day_start(key)
        if _is_same(joined.get(key, {}), fields):
            candles = clip_candles(history, start, start + DAY).replace_schema_metadata(None)
            if candles_digest(candles) == fields["digest"]:
                found[key] = with_fields(candles, fields)
    return found


def _is_same(joined: Mapping[str, str], stored: Mapping[str, str]) -> bool:
    """Days stored by version 0.1 have no digest."""
    return "digest" in stored and all(joined.get(n) == stored[n] for n in ("version", "digest"))
