"""What a test needs besides this process, found in the code of the test.

A test gets the marker of each need whose names occur in its code, in the code of its fixtures, or
in functions and classes of the tests that these use. `pytest -m` chooses by these markers.
"""

import inspect
from collections.abc import Iterator
from functools import cache
from types import CodeType, FunctionType

import pytest

# Of each marker: what it says of a test, and the names that occur in the code of such a test.
NEEDS = {
    "azurite": ("stores blobs in a real Azurite", {"running_azurite", "azurite_by_hand"}),
    "processes": (
        "starts processes",
        {"subprocess", "Services", "run_azurite", "installed_azurite"},
    ),
    "browser": ("drives a real Chromium; skipped where there is none", {"sync_playwright"}),
    "servers": (
        "talks to a server in a thread: the stand-in exchange, a webhook, a mail server",
        {"ThreadingHTTPServer", "create_server", "Controller"},
    ),
    "instance": ("opens a Dagster instance on disk", {"DagsterInstance", "open_instance"}),
}
_PACKAGE = __name__.partition(".")[0]


def mark_needs(item: pytest.Item) -> None:
    """Give a test the marker of each of its needs."""
    assert isinstance(item, pytest.Function)
    definitions = item._fixtureinfo.name2fixturedefs.values()
    fixtures = [definition.func for several in definitions for definition in several]
    for function in (item.function, *fixtures):
        for marker in _needs_of(function):
            item.add_marker(marker)


@cache
def _needs_of(function: object) -> frozenset[str]:
    names = set(_names(function, set()))
    return frozenset(marker for marker, (_, needed) in NEEDS.items() if needed & names)


def _names(value: object, seen: set[object]) -> Iterator[str]:
    """Yield the names in the code of a function or class of the tests, and of what it uses."""
    value = inspect.unwrap(value) if callable(value) else None
    if not isinstance(value, type | FunctionType) or value in seen:
        return
    if not value.__module__.startswith(_PACKAGE):
        return
    seen.add(value)
    if isinstance(value, type):
        yield from (base.__name__ for base in value.__bases__)
        for part in (*value.__bases__, *vars(value).values()):
            yield from _names(part, seen)
    else:
        for name in _code_names(value.__code__):
            yield name
            yield from _names(value.__globals__.get(name), seen)


def _code_names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _code_names(constant)
