"""Time ranges as readers write them. Pure: no Dagster, no I/O."""

from datetime import UTC, date, datetime, time
from typing import Any

import numpy as np

from coinbase_assets.lake.errors import InvalidRequest

Instant = str | date | datetime | np.datetime64
"""A moment: an ISO 8601 text, a day (its midnight) or a time, in UTC if it has no zone.

Times are those of the standard library, pandas, NumPy or Arrow.
"""

_MICROSECOND = np.timedelta64(1, "us")


def parse_range(start: Instant | None, end: Instant | None) -> tuple[datetime | None, datetime]:
    """Return both instants in UTC; `end` is now by default.

    Raises InvalidRequest, also if `start` is after `end`.
    """
    last = datetime.now(UTC) if end is None else parse_instant(end, "end")
    if start is None:
        return None, last
    first = parse_instant(start, "start")
    if first > last:
        raise InvalidRequest(f"start {first} is after end {last}; swap them")
    return first, last


def parse_instant(value: object, name: str = "time") -> datetime:
    """Return the instant in UTC. Raises InvalidRequest, with its `name`."""
    try:
        instant = _plain_datetime(value)
        # A time zone may have no offset; `astimezone` would then take that of the machine.
        is_naive = instant.utcoffset() is None
        return instant.replace(tzinfo=UTC) if is_naive else instant.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise InvalidRequest(
            f"{name}={value!r}: not a time; write 2024-01-31 or 2024-01-31T12:00, or give a date, a"
            " datetime, a pandas Timestamp or a NumPy datetime64, not a number"
        ) from None


def _plain_datetime(value: Any) -> datetime:
    """Return the standard library's form, with fractions of a microsecond rounded up.

    Raises TypeError or ValueError for what is not a time, such as NaT.
    """
    if hasattr(value, "as_py"):  # Arrow
        value = value.as_py()
    if hasattr(value, "to_datetime64"):  # pandas
        value = value.to_datetime64()  # in UTC
    if isinstance(value, np.datetime64):
        whole = value.astype("datetime64[us]")
        value = (whole + _MICROSECOND if whole < value else whole).item()
    if isinstance(value, str):
        return datetime.fromisoformat(value.strip())
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime.combine(value, time())
    raise TypeError
