"""What a test needs besides its own process, found in the code of the test.

A test gets the marker of each need whose names occur in its code, in the code of its fixtures, or
in functions and classes of the tests that these use. `pytest -m` chooses by these markers.
"""

import inspect
from collections.abc import Iterator
from types import CodeType, FunctionType

import pytest

# Of each marker: what it says of a test, and the names that occur in the code of such a test.
NEEDS = {
    "azurite": ("stores blobs in a real Azurite", {"running_azurite"}),
    "processes": ("starts processes", {"subprocess", "Services", "run_azurite"}),
    "browser": ("drives a real Chromium; skipped where there is none", {"sync_playwright"}),
    "servers": (
        "talks to a server in a thread: the stand-in exchange, a webhook, a mail server",
        {"ThreadingHTTPServer", "create_server", "Controller"},
    ),
    "instance": ("opens a Dagster instance on disk", {"DagsterInstance"}),
}
_PACKAGE = __name__.partition(".")[0]


def mark_needs(item: pytest.Item) -> None:
    """Give a test the marker of each of its needs."""
    assert isinstance(item, pytest.Function)
    seen: set[object] = set()
    definitions = item._fixtureinfo.name2fixturedefs.values()
    fixtures = [definition.func for several in definitions for definition in several]
    names = {name for each in (item.function, *fixtures) for name in _names(each, seen)}
    for marker, (_, words) in NEEDS.items():
        if words & names:
            item.add_marker(marker)


def _names(value: object, seen: set[object]) -> Iterator[str]:
    """Yield the names in the code of a function or class of the tests, and of what it uses."""
    if isinstance(value, type):
        members = [inspect.unwrap(each) for each in vars(value).values() if callable(each)]
    else:
        members = [inspect.unwrap(value)] if callable(value) else []
    for function in members:
        if not isinstance(function, FunctionType) or function in seen:
            continue
        if not function.__module__.startswith(_PACKAGE):
            continue
        seen.add(function)
        for name in _code_names(function.__code__):
            yield name
            yield from _names(function.__globals__.get(name), seen)


def _code_names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _code_names(constant)
