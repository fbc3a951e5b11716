"""Which versions of Dagster this project works with. Does not import Dagster."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

TESTED = ">=1.13.26,<1.14"


class UnsupportedDagster(Exception):
    """Dagster lacks a private name that this project uses; the message is one line."""


@contextmanager
def requiring_tested_dagster() -> Iterator[None]:
    """Import and look up Dagster's private names in this block.

    Raises UnsupportedDagster if one of them is missing.
    """
    try:
        yield
    except (ImportError, AttributeError) as error:
        if isinstance(error, ImportError) and not (error.name or "").startswith("dagster"):
            raise
        # An ImportError ends with the path of a file, in brackets.
        missing = str(error).partition(" (")[0]
        raise UnsupportedDagster(
            f"Dagster {version('dagster')}: {missing}; coinbase-assets is tested with"
            f" dagster{TESTED}; run pip install 'dagster{TESTED}' dagster-webserver"
        ) from None


def require(owner: type, *names: str) -> None:
    """Raises AttributeError if the class lacks one of these attributes."""
    for name in names:
        getattr(owner, name)
