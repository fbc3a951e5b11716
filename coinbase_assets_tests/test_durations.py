"""Durations in words."""

from datetime import timedelta

import pytest

from coinbase_assets.durations import in_words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.4, "0 s"),
        (59.6, "1 min"),
        (420, "7 min"),
        (4_385, "1 h 13 min"),
        (86_400, "1 d"),
        (200_000, "2 d 7 h"),
        (86_400 + 60, "1 d 1 min"),
    ],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert in_words(timedelta(seconds=seconds)) == words
