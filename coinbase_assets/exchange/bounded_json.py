"""JSON of an answer: its depth and its size are known before it is parsed.

A parser needs a level of the machine's stack for each level of nesting, and may make thirty bytes
of memory of each byte of text.
"""

import json
import re

import numpy as np

from coinbase_assets.exchange.errors import GarbledAnswer
from coinbase_assets.plain_text import quoted

# The exchange's answers are lists of lists or of objects.
MOST_LEVELS = 4

# A string may lack its end: the parser refuses it.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
# An opening bracket is a step up, the int8 1, a closing one a step down, the int8 -1.
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[{]}"))


def parse_json(body: bytes, most_items: int, items: str) -> object:
    """Return the value of a JSON text in UTF-8; a list holds at most so many `items`.

    Every list and object within the value counts as an item. Raises GarbledAnswer.
    """
    steps = np.frombuffer(_outside_strings(body).translate(_STEPS, _NO_BRACKETS), np.int8)
    if np.cumsum(steps, dtype=np.int32).max(initial=0) > MOST_LEVELS:
        raise GarbledAnswer(f"nested deeper than {MOST_LEVELS} levels: {_quoted(body)}")
    if np.count_nonzero(steps == 1) > most_items + 1:
        raise GarbledAnswer(f"more than {most_items:,} {items}: {_quoted(body)}")
    try:
        return json.loads(body.decode())
    except ValueError as error:
        raise GarbledAnswer(f"not JSON: {_quoted(body)}") from error


def _outside_strings(body: bytes) -> bytes:
    if b"\\" in body:
        return _STRING.sub(b"", body)
    # Three times as fast, which counts for the 10,000 strings of a page of trades.
    return b"".join(body.split(b'"')[::2])


def _quoted(body: bytes) -> str:
    return quoted(body[:400].decode(errors="replace"))
