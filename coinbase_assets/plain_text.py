"""Text of others (the exchange, a blob, a server) as people may see it: on a terminal, in a log."""

import re
import reprlib

MOST_SHOWN = 2_000
"""The number of characters after which a text is cut by default."""

_LOOK_ALIKES = str.maketrans(
    {
        "<": "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}",
        ">": "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}",
        "@": "\N{FULLWIDTH COMMERCIAL AT}",
        "*": "\N{ASTERISK OPERATOR}",
        "`": "\N{MODIFIER LETTER GRAVE ACCENT}",
        "[": "\N{FULLWIDTH LEFT SQUARE BRACKET}",
        "]": "\N{FULLWIDTH RIGHT SQUARE BRACKET}",
        "~": "\N{TILDE OPERATOR}",
    }
)
_AT_WORD_ENDS = re.compile(r"(?<![^\W_])_|_(?![^\W_])")


def shown(text: str, most: int | None = MOST_SHOWN) -> str:
    """Return the text in one line of at most `most` characters; a text that is cut ends in `...`.

    Escapes everything that is not printable: newlines, the commands of terminals, characters that
    have no width or change the direction of writing.
    """
    line = "".join(map(_escaped, text[:most]))
    if most is None or max(len(text), len(line)) <= most:
        return line
    return f"{line[: most - 3]}..."


def quoted(value: object, most: int = 80) -> str:
    """Return a value as Python writes it, in one line of at most `most` characters."""
    text = repr(value[:most]) if isinstance(value, str) else reprlib.repr(value)
    return shown(text, most)


def inert(text: str) -> str:
    """Return the text with look-alikes of what Markdown and chats read as markup or mentions.

    apprise escapes markup for most chats, but leaves `@everyone` to Discord and `<!channel>` to
    Slack; Dagster's web UI renders a check's description as Markdown. An underscore inside a
    name means nothing, and stays.
    """
    return _AT_WORD_ENDS.sub("\N{FULLWIDTH LOW LINE}", text.translate(_LOOK_ALIKES))


def shown_lines(text: str) -> str:
    """Return a text of several lines with each of them as `shown` returns it, but not cut."""
    return "\n".join(shown(line, None) for line in text.split("\n"))


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode("ascii")
