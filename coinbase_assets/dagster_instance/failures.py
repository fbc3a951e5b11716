"""Failures of steps whose cause stands in the first line of the run's page.

Dagster shows any other error as its own error "while handling output", with the cause below. A
dg.Failure passes unwrapped.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg


def failure_of(
    source: str, error: Exception, remedy: str = "", *, is_lasting: bool = False, **metadata: str
) -> dg.Failure:
    """Return the failure that says where the error comes from; raise it from the error.

    If `is_lasting`, no retry helps. The metadata stands on the run's page, below the error.
    """
    text = "; ".join(filter(None, (f"{source}: {error}", remedy)))
    return dg.Failure(text, {"cause": type(error).__name__, **metadata}, not is_lasting)


@contextmanager
def causes_raised() -> Iterator[None]:
    """Raise the cause of a dg.Failure in its place."""
    try:
        yield
    except dg.Failure as failure:
        if failure.__cause__ is None:
            raise
        raise failure.__cause__ from None
