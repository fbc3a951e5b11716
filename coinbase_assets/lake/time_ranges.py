"""Time ranges as readers write them. Pure: no Dagster, no I/O."""

from datetime import UTC, date, datetime, time

Instant = str | date | datetime
"""A moment: an ISO 8601 text, a day (its midnight) or a time, in UTC if it has no zone."""


def parse_range(start: Instant, end: Instant) -> tuple[datetime, datetime]:
    """Return both instants in UTC. Raises ValueError if `start` is after `end`."""
    first, last = _parse_instant("start", start), _parse_instant("end", end)
    if first > last:
        raise ValueError(f"start {first} is after end {last}")
    return first, last


def _parse_instant(name: str, value: Instant) -> datetime:
    try:
        instant = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        rule = "not a time; write 2024-01-31 or 2024-01-31T12:00"
        raise ValueError(f"{name}={value!r}: {rule}") from None
    if not isinstance(instant, datetime):
        instant = datetime.combine(instant, time())
    return instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)
