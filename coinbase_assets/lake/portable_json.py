"""JSON that every program reads the same: no NaN, and no number that a float cannot hold."""

import json
import math
from decimal import Decimal
from typing import Any

# Larger integers lose digits in programs that read every number as a float.
_LARGEST = 2**53
_DIGITS = len(str(_LARGEST))


def portable(value: Any) -> Any:
    """Return the value as JSON can hold it.

    NaN and infinite numbers become None, integers beyond 2^53 become text, in lists and
    dictionaries, too.
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int):
        return value if abs(value) <= _LARGEST else str(value)
    if isinstance(value, dict):
        return {key: portable(each) for key, each in value.items()}
    if isinstance(value, list):
        return [portable(each) for each in value]
    return value


def to_json(value: Any, indent: int | None = None) -> str:
    """Return the portable value as JSON text."""
    return json.dumps(portable(value), indent=indent, allow_nan=False)


def from_json(text: str) -> Any:
    """Return the value of JSON text. Numbers of too many digits become text, NaN becomes None."""
    return _DECODER.decode(text)


def _integer(digits: str) -> int | str:
    return portable(int(digits)) if len(digits) <= _DIGITS + 1 else digits


def _decimal(digits: str) -> float | str:
    number = float(digits)
    is_exact = math.isfinite(number) and Decimal(repr(number)) == Decimal(digits)
    return number if is_exact else digits


def _object(pairs: list[tuple[str, Any]]) -> Any:
    """Return a dictionary, or a list if several names are all empty: a tuple of DuckDB 1."""
    is_tuple = len(pairs) > 1 and not any(name for name, _ in pairs)
    return [value for _, value in pairs] if is_tuple else dict(pairs)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_int=_integer,
    parse_float=_decimal,
    parse_constant=lambda name: None,
)
