"""Fields as the metadata of a blob, whose names and values Azure takes as HTTP headers.

Azure's names are case-insensitive identifiers, and its values printable ASCII. All other fields are
stored together, as JSON in ASCII, under one name.
"""

import json
import re
from collections.abc import Mapping

_OTHERS = "other_fields"
_NAME = re.compile(r"[a-z_][a-z0-9_]*")
_VALUE = re.compile(r"[!-~]([ -~]*[!-~])?")


def headers_of(fields: Mapping[str, str]) -> dict[str, str]:
    """Return the metadata that holds these fields."""
    plain = {name: text for name, text in fields.items() if _is_plain(name, text)}
    others = {name: text for name, text in fields.items() if name not in plain}
    return {**plain, _OTHERS: json.dumps(others)} if others else plain


def fields_of(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the fields in the metadata. What is not of `headers_of` is returned as it is."""
    others = _parsed(headers.get(_OTHERS, ""))
    if others is None:
        return dict(headers)
    return {**{name: text for name, text in headers.items() if name != _OTHERS}, **others}


def _is_plain(name: str, text: str) -> bool:
    return bool(name != _OTHERS and _NAME.fullmatch(name) and _VALUE.fullmatch(text))


def _parsed(text: str) -> dict[str, str] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
        return None
    return found
