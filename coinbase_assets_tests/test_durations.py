"""Durations in words."""

from datetime import timedelta

import pytest

from coinbase_assets.durations import in_words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "0 seconds"),
        (0.4, "0 seconds"),
        (1, "1 second"),
        (100, "1 minute 40 seconds"),
        (7_500, "2 hours 5 minutes"),
        (86_400, "1 day"),
        (86_430, "1 day"),
        (2 * 86_400 + 3 * 3_600 + 60, "2 days 3 hours"),
    ],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert in_words(timedelta(seconds=seconds)) == words
