"""Durations in words, as people say them."""

from datetime import timedelta

_UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))


def in_words(duration: timedelta) -> str:
    """Return the duration in its largest unit and the next, rounded down: `2 hours 5 minutes`.

    A negative duration counts as zero.
    """
    left = max(0, int(duration.total_seconds()))
    counts = list[tuple[int, str]]()
    for unit, seconds in _UNITS:
        count, left = divmod(left, seconds)
        if count or counts:
            counts.append((count, unit))
    words = [f"{count} {unit}{'s' if count > 1 else ''}" for count, unit in counts[:2] if count]
    return " ".join(words) or "0 seconds"
