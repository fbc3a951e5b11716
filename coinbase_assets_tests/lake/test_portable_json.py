"""JSON that every program reads the same."""

import json
import math
from typing import Any

import pytest

from coinbase_assets.lake.portable_json import from_json, to_json


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (math.nan, "null"),
        ([-math.inf, 1.5], "[null, 1.5]"),
        ({"a": {"b": [math.inf]}}, '{"a": {"b": [null]}}'),
        (2**53, "9007199254740992"),
        (-(2**53), "-9007199254740992"),
        (2**53 + 1, '"9007199254740993"'),
        ([True, None, 0], "[true, null, 0]"),
        ("caf\u00e9 \U0001f986 \udcff", '"caf\\u00e9 \\ud83e\\udd86 \\udcff"'),
    ],
)
def test_to_json(value: Any, text: str) -> None:
    assert to_json(value) == text
    json.loads(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[NaN, Infinity, -Infinity]", [None, None, None]),
        ("9007199254740993", "9007199254740993"),
        ("-" + "9" * 5000, "-" + "9" * 5000),
        ("1.10", 1.1),
        ("1e999", "1e999"),
        ("0.1234567890123456789", "0.1234567890123456789"),
    ],
)
def test_from_json(text: str, value: Any) -> None:
    assert from_json(text) == value
