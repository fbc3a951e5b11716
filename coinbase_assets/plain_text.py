"""Text of others (the exchange, a blob, a server) as people may see it: on a terminal, in a log."""

import reprlib

MOST_SHOWN = 2_000
"""The number of characters after which a text is cut by default."""


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


def shown_lines(text: str) -> str:
    """Return a text of several lines with each of them as `shown` returns it, but not cut."""
    return "\n".join(shown(line, None) for line in text.split("\n"))


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode("ascii")
