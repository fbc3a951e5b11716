"""Text of others is shown in one line, and nothing in it is a command."""

import re

import pytest

from coinbase_assets.plain_text import inert, shown, shown_lines
from coinbase_assets_tests.hostile_strings import HOSTILE


def test_shown_keeps_plain_text() -> None:
    text = "ETH-EUR: caf\u00e9 [/x] <b> \u4f60"
    assert shown(text) == shown_lines(text) == text


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\nb", r"a\nb"),
        ("\x1b[2J", r"\x1b[2J"),
        ("\x9b2J\x7f", r"\x9b2J\x7f"),
        ("a\u202eb\u200b", r"a\u202eb\u200b"),
        ("\udcff", r"\udcff"),
    ],
)
def test_shown_escapes_what_cannot_be_seen(text: str, line: str) -> None:
    assert shown(text) == line


def test_shown_is_bounded() -> None:
    assert shown("A" * 10, 10) == "A" * 10
    assert shown("A" * 11, 10) == "A" * 7 + "..."
    assert shown("\n" * 10, 10) == r"\n\n\n\..."
    assert len(HOSTILE) == len(set(HOSTILE)) > 190
    for text in HOSTILE:
        assert shown(text, 300).isprintable()
        assert len(shown(text, 300)) <= 300


def test_shown_lines_keeps_lines() -> None:
    assert shown_lines("a\x1bb\n\u202ec\n") == "a\\x1bb\n\\u202ec\n"


def test_inert_text_has_no_markup() -> None:
    for text in HOSTILE:
        line = inert(shown(text))
        assert line.isprintable()
        assert not re.search(r"[<>@*`~\[\]]", line)
        assert not re.search(r"\b_|_\b|^_|_$", re.sub(r"[^\W_]_(?=[^\W_])", "", line))


def test_inert_keeps_names() -> None:
    text = "ETH-EUR:15m: answers_are_recent: 3:00:00 ago (ETH-EUR/15m/raw_candles)"
    assert inert(text) == text
