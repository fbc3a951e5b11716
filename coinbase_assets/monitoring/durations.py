"""Durations and times as people say them."""

from datetime import datetime, timedelta

_UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))


def in_words(duration: timedelta) -> str:
    """Return the duration in its two largest units, rounded down: `2 hours 5 minutes`.

    A duration of a minute or more has no seconds; a negative one counts as zero.
    """
    left = max(0, int(duration.total_seconds()))
    counts = list[str]()
    for unit, seconds in _UNITS:
        count, left = divmod(left, seconds)
        if count and not (counts and unit == "second"):
            counts.append(f"{count} {unit}{'s' if count > 1 else ''}")
    return " ".join(counts[:2]) or "0 seconds"


def at_minute(time: datetime) -> str:
    """Return the time (UTC) to the minute: `2024-01-31 12:00 UTC`."""
    return f"{time:%F %H:%M} UTC"
