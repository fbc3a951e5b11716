"""A month of history, joined from its raw days. Pure: no I/O."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from coinbase_assets.candles.calendar import DAY, day_start, month_range
from coinbase_assets.candles.days import first_and_last, format_numbers
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

# The key of the schema metadata that holds the fields of the raw days, as JSON: a list for each
# field, with an item for each day.
_RAW_DAYS = b"coinbase_assets/raw_days"
# Earlier versions kept an object for each day.
_OLD_RAW_DAYS = b"raw_days"
# The field with a digest of what a month was made of.
MADE_OF = "made_of"
# The field with the days, as numbers in the month, that it was made of.
DAYS_HELD = "days_held"
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
    kept = {key: _kept(day) for key, day in sorted(fields.items())}
    return with_fields(
        with_raw_days(candles, kept),
        {
            "series": str(series),
            "source": made_of,
            "version": str(sum(versions.values())),
            MADE_OF: days_digest(kept),
            DAYS_HELD: format_numbers({int(key[-2:]) for key in days}),
            "days": str(len(days)),
            "days_missing": str(expected - len(days)),
            **first_and_last(candles),
        },
    )


def _kept(day: Mapping[str, str]) -> Mapping[str, str]:
    return {name: day[name] for name in _RAW_DAY_FIELDS_KEPT if day.get(name)}


def days_digest(days: Mapping[str, Mapping[str, str]]) -> str:
    """Return a digest of what a month keeps of its raw days, from their fields, by their keys."""
    texts = [f"{key} {sorted(_kept(fields).items())}" for key, fields in sorted(days.items())]
    return _digest(texts)


def months_digest(made_of: Sequence[str | None]) -> str:
    """Return a digest of several months of history, from what each was made of."""
    return _digest([str(each) for each in made_of])


def _digest(texts: Sequence[str]) -> str:
    return hashlib.blake2b("\n".join(texts).encode(), digest_size=16).hexdigest()


def with_raw_days(candles: pa.Table, days: Mapping[str, Mapping[str, str]]) -> pa.Table:
    """Return the candles with `days`: the fields of their raw days, by the days' keys."""
    names = dict.fromkeys(name for fields in days.values() for name in fields)
    columns = {name: [fields.get(name, "") for fields in days.values()] for name in names}
    text = json.dumps({"days": list(days), **columns}, separators=(",", ":"))
    return candles.replace_schema_metadata({_RAW_DAYS: text.encode()})


def raw_days(history: pa.Table) -> Mapping[str, Mapping[str, str]]:
    """Return the fields of the raw days that the month was joined from, by the days' keys.

    Raises InvalidCandles for a month joined by version 0.1, which did not keep these fields, and
    if they are damaged, also when a missing field is accessed.
    """
    try:
        days = _stored_raw_days(history.schema.metadata or {})
        return {f"{day_start(day):%F}": _fields_of(day, known) for day, known in days.items()}
    except KeyError:
        raise InvalidCandles(
            "the month was joined by an older version; materialise it again"
        ) from None
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidCandles(
            "the month's fields of its raw days are damaged; materialise it again"
        ) from error


def _stored_raw_days(metadata: Mapping[bytes, bytes]) -> Mapping[str, Mapping[str, str]]:
    """Return the fields by day. Raises KeyError if the metadata has none."""
    if _RAW_DAYS not in metadata:
        return json.loads(metadata[_OLD_RAW_DAYS])
    columns = json.loads(metadata[_RAW_DAYS])
    days = columns.pop("days")
    rows = (zip(columns, row, strict=True) for row in zip(*columns.values(), strict=True))
    found = ({name: text for name, text in row if text} for row in rows)
    return dict(zip(days, found, strict=True)) if columns else {day: {} for day in days}


def check_days(history: pa.Table) -> None:
    """Raise InvalidCandles if the candles of a raw day are not those that were joined.

    Months joined by earlier versions, which kept no digests, are not checked.
    """
    metadata = history.schema.metadata or {}
    if _RAW_DAYS not in metadata and _OLD_RAW_DAYS not in metadata:
        return
    candles = conform(history)
    for key, fields in raw_days(history).items():
        day = clip_candles(candles, day_start(key), day_start(key) + DAY)
        if fields.get("digest", "") not in ("", candles_digest(day)):
            raise InvalidCandles(f"its candles of {key} are not those that were joined")


def _fields_of(day: str, fields: Mapping[str, str]) -> Fields:
    return Fields(fields, f"the raw day {day}", InvalidCandles)


def answered_until(candles: pa.Table) -> dict[str, datetime]:
    """Return until when the exchange answered for each raw day in a month, by the days' keys.

    A month of an earlier version is taken to be answered to the end of each day that has a candle.
    The candles need only the column `time`.
    """
    try:
        return {
            key: datetime.fromisoformat(fields["answered_through"])
            for key, fields in raw_days(candles).items()
        }
    except InvalidCandles:
        days = pc.strftime(candles["time"], "%Y-%m-%d").unique().to_pylist()
        return {day: day_start(day) + DAY for day in days}


def unchanged_days(history: pa.Table, days: Mapping[str, Mapping[str, str]]) -> dict[str, pa.Table]:
    """Return the raw days that the month holds and that need not be read, by their keys.

    `days` are the fields of the stored raw days. A day is unchanged if the month was joined from
    the same version of it, and if its candles in the month have the digest of the stored day. So is
    a day whose own file is lost: the month has the only copy. Raises InvalidCandles like
    `raw_days`.
    """
    joined, candles = raw_days(history), conform(history)
    found = {}
    for key, fields in {**joined, **days}.items():
        if _is_same(joined.get(key, {}), fields):
            day = clip_candles(candles, day_start(key), day_start(key) + DAY)
            if candles_digest(day) == fields["digest"]:
                found[key] = with_fields(day, fields)
    return found


def _is_same(joined: Mapping[str, str], stored: Mapping[str, str]) -> bool:
    """Return whether version and digest are equal; days stored by version 0.1 have no digest."""
    return "digest" in stored and all(joined.get(n) == stored[n] for n in ("version", "digest"))
