"""Durations in words, as people say them."""

from datetime import timedelta

_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def in_words(duration: timedelta) -> str:
    """Return a duration of no less than 0 in its two largest units: `2 d 3 h`, `7 min`, `0 s`."""
    left, words = round(duration.total_seconds()), list[str]()
    for unit, seconds in _UNITS:
        count, left = divmod(left, seconds)
        if count:
            words.append(f"{count} {unit}")
    return " ".join(words[:2]) or "0 s"
