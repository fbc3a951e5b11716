"""Text of others is shown in one line, and nothing in it is a command."""

import pytest

from coinbase_assets.plain_text import shown, shown_lines
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
