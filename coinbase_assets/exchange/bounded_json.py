"""JSON of an answer: its depth and its size are known before it is parsed.

A parser needs a level of the machine's stack for each level of nesting, and may make thirty bytes
of memory of each byte of text.
"""

import json

import numpy as np

from coinbase_assets.exchange.errors import GarbledAnswer
from coinbase_assets.plain_text import quoted

# The exchange's answers are lists of lists or of objects.
MOST_LEVELS = 4
# A product has 21 fields, a candle 6 numbers.
_MOST_VALUES = 32

_QUOTE, _COMMA = b'",'
# For each character by how many levels it nests what follows.
_STEPS = np.zeros(256, np.int8)
_STEPS[list(b"[{")] = 1
_STEPS[list(b"]}")] = -1


def parse_json(body: bytes, most_items: int, items: str) -> object:
    """Return the value of a JSON text in UTF-8; a list holds at most so many `items`.

    Every list and object within the value counts as an item, and so do 32 of its other values.
    Raises GarbledAnswer.
    """
    characters = _outside_strings(body)
    steps = _STEPS[characters]
    is_long = np.count_nonzero(steps == 1) > most_items + 1
    if is_long or np.count_nonzero(characters == _COMMA) > most_items * _MOST_VALUES:
        raise GarbledAnswer(f"more than {most_items:,} {items}: {_quoted(body)}")
    if np.cumsum(steps[steps != 0], dtype=np.int32).max(initial=0) > MOST_LEVELS:
        raise GarbledAnswer(f"nested deeper than {MOST_LEVELS} levels: {_quoted(body)}")
    try:
        return json.loads(body.decode())
    except ValueError as error:
        raise GarbledAnswer(f"not JSON: {_quoted(body)}") from error


def _outside_strings(body: bytes) -> np.ndarray:
    """Return the characters outside strings, if the text is JSON, and the closing quotes."""
    if b"\\" in body:
        body = body.replace(rb"\\", b"").replace(rb"\"", b"")
    characters = np.frombuffer(body, np.uint8)
    if b'"' not in body:
        return characters
    quotes = np.cumsum(characters == _QUOTE, dtype=np.uint8)
    return characters[quotes & 1 == 0]


def _quoted(body: bytes) -> str:
    return quoted(body[:400].decode(errors="replace"))
